"""Results that stand where a number does."""

import numpy as np
import pytest

import numpyscore as ns

X = np.random.default_rng(0).standard_normal((20, 2))
NET = ns.EnergyMLP.init(2, (4,), confinement=0.5, rng=0)
DENSITY = ns.Gaussian(1.0, 2.0)


def test_each_formats_compares_and_adds_like_its_number():
    loss, integral = ns.implicit(NET, X), ns.expectation(lambda x: x[:, 0] ** 2, DENSITY)
    verdict = ns.verify_line(lambda x: x[:, 0], 0.25, DENSITY)
    for result, number in ((loss, loss.value), (integral, integral.value), (verdict, verdict.gap)):
        assert f"{result:.3f}" == f"{number:.3f}" and f"{result}" == str(result)
        assert result < number + 1e-6 and result <= 10 and result > number - 1e-6 and result >= -10
        assert float(result + 1) == pytest.approx(number + 1) and float(1 - result) == pytest.approx(1 - number)
        assert float(2 * result) == pytest.approx(2 * number) and float(result / 4) == pytest.approx(number / 4)
        assert abs(result) == abs(number) and np.sqrt(abs(result)) == np.sqrt(abs(number))
        assert float(np.float64(2) * result) == pytest.approx(2 * number) and float(-result) == -number
        np.testing.assert_allclose(result, number)
        assert result**2 == number**2
        with pytest.raises(TypeError):
            result + "text"
        with pytest.raises(TypeError):
            result < "text"  # noqa: B015
    assert loss == loss.value and loss != 0 and max(loss, 10.0) == 10.0 and sum([loss, loss]) == 2 * loss.value
    assert not verdict and ns.verify_line(lambda x: x[:, 0], 1, DENSITY)


def test_a_sum_of_losses_is_a_loss_with_its_gradient():
    a, b = ns.implicit(NET, X), ns.denoising(NET, X, 0.3, rng=0)
    both = 2 * a + b / 4 - 1
    assert float(both) == pytest.approx(2 * a.value + b.value / 4 - 1, rel=1e-14)
    np.testing.assert_allclose(both.gradient, 2 * a.gradient + b.gradient / 4, rtol=1e-13)
    np.testing.assert_allclose(both.per_sample, 2 * a.per_sample + b.per_sample / 4 - 1, rtol=1e-13)
    assert repr(both).startswith("Loss(2 implicit + 0.25 denoising + -1, value=")
    assert repr(a).startswith("Loss(implicit, value=") and "n=20" in repr(a)
    with pytest.raises(ValueError, match="the losses of one network"):
        _ = (a + ns.implicit(ns.EnergyMLP.init(2, (5,), rng=0), X)).gradient
    assert round(a, 2) == round(float(a), 2) and int(ns.Integral(2.5, 0.1, 1)) == 2
    assert f"{ns.Integral(np.array([1.0, 2.0]), np.zeros(2), 1):.1f}" == "[1.0 2.0]"
    for name, said in (("backward", r"\.gradient"), ("item", r"float\(result\)"), ("gradint", "did you mean gradient")):
        with pytest.raises(AttributeError, match=said):
            getattr(a, name)
    with pytest.raises(ValueError, match="at as many samples"):
        _ = (a + ns.implicit(NET, X[:5])).per_sample


def test_integrals_carry_their_errors():
    one = ns.Integral(2.0, 0.01, 10)
    two = ns.Integral(4.0, 0.1, 5, False, "why")
    for found, value, error in (
        (one + two, 6, 0.11),
        (one - two, -2, 0.11),
        (3 * one, 6, 0.03),
        (1 - one, -1, 0.01),
        (one / 2, 1, 0.005),
    ):
        assert found.value == pytest.approx(value) and found.error == pytest.approx(error)
    assert (one + two).note == "why" and not (one + two).converged and (one + two).evaluations == 15
    # of products and quotients the error bounds every pair of numbers within those of the parts
    corners = [(2 + s * 0.01, 4 + t * 0.1) for s in (-1, 1) for t in (-1, 1)]
    for found, rule in ((one * two, lambda a, b: a * b), (one / two, lambda a, b: a / b)):
        worst = max(abs(rule(*corner) - rule(2, 4)) for corner in corners)
        assert worst <= found.error * (1 + 1e-12) <= 1.2 * worst
    assert np.isinf((one / ns.Integral(0.05, 0.1, 1)).error)
