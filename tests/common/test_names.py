"""Words for what people try: misspelt names, exchanged arguments, bare functions, classes, and errors in their own code."""

import numpy as np
import pytest
from scipy import stats

import numpyscore as ns
from numpyscore.common.names import kind_of, nearest

X = np.random.default_rng(0).standard_normal((20, 2))
NET = ns.EnergyMLP.init(2, (4,), rng=0)
P = ns.Gaussian(np.zeros(2), 1.0)


class Raises:
    dim, support = 2, np.tile([-np.inf, np.inf], (2, 1))

    def logpdf(self, x):
        raise ZeroDivisionError("oops")

    def score(self, x):
        raise KeyError("mode")


def bare(x, sigma=None):
    return -x


def test_the_nearest_name():
    assert nearest("denoisng", ["implicit", "denoising"]) == " (did you mean denoising?)"
    assert nearest("Gausian", ["gaussian"]) == " (did you mean gaussian?)" and nearest("xyz", ["gaussian"]) == ""
    assert (
        kind_of(P) == "a Gaussian"
        and kind_of(ns.Gaussian).startswith("the class Gaussian")
        and kind_of(bare) == "a function"
    )


LOSSES = {
    "explicit": lambda net, x: ns.explicit(net, x, np.zeros((20, 2))),
    "implicit": ns.implicit,
    "generalised": lambda net, x: ns.generalised(net, x, 1, 1),
    "denoising": lambda net, x: ns.denoising(net, x, 0.3),
    "multilevel_denoising": lambda net, x: ns.multilevel_denoising(net, x, [1, 0.5]),
    "sliced": ns.sliced,
    "finite_difference_sliced": lambda net, x: ns.finite_difference_sliced(net, x, 0.01),
    "regularised": lambda net, x: ns.regularised(net, x, 0.1),
    "sandwich": lambda net, x: ns.sandwich(net, x),
}


@pytest.mark.parametrize("name", LOSSES)
def test_exchanged_arguments_are_told_by_every_loss(name):
    with pytest.raises(TypeError, match=rf"{name}: model is an ndarray, .* exchanged: {name}\(model, x"):
        LOSSES[name](X, NET)
    with pytest.raises(TypeError, match=rf"{name}: model is the class EnergyMLP, not one of its objects"):
        LOSSES[name](ns.EnergyMLP, X)


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: ns.implicit(bare, X), "model is a function.*implicit_loss"),
        (lambda: ns.implicit(P, X), "model is a Gaussian.*it has a score.*implicit_loss"),
        (lambda: ns.langevin(bare, X, 0.1, 2), r"target is a function.*SimpleNamespace\(score=f\)"),
        (lambda: ns.langevin(ns.Gaussian, X, 0.1, 2), "target is the class Gaussian.*make one"),
        (lambda: ns.langevin(Raises(), X, 0.1, 2), r"target.score raised KeyError: 'mode'.*\(test_names.py, line \d+, in score;"),
        (lambda: ns.annealed_langevin(bare, X, [1, 0.5], 2), r"target\(1\) is an ndarray.*SimpleNamespace|target\(1\) is an? "),
        (lambda: ns.reverse_diffusion(ns.Gaussian, X, [1, 0.5]), "target is the class Gaussian"),
        (lambda: ns.kernel_stein_discrepancy(bare, X), "target is a function"),
        (lambda: ns.expectation(P, bare), "g is a Gaussian.*exchanged"),
        (lambda: ns.expectation(P, P), "g is a Gaussian.*one of its methods"),
        (lambda: ns.expectation(bare, ns.Gaussian), "density is the class Gaussian"),
        (lambda: ns.expectation(lambda x: x[:, 0], Raises()), "logpdf raised ZeroDivisionError: oops"),
        (lambda: ns.expectation(lambda x: 1 / 0, P), r"g raised ZeroDivisionError.*test_names.py"),
        (lambda: ns.expectation(1.0, P), "g is a float, expected a function"),
        (lambda: ns.flux(P.score, bare), "density is a function"),
        (lambda: ns.fisher_divergence(P, bare), "q is a function.*SimpleNamespace"),
        (lambda: ns.kl_divergence(P, NET), "q is an EnergyMLP.*log_normaliser"),
        (lambda: ns.verify(Raises(), only="boundary term"), r"Raises.logpdf raised ZeroDivisionError: oops.*in logpdf"),
        (lambda: ns.verify(ns.Gaussian), "the class Gaussian"),
        (lambda: ns.expectation(bare, stats.norm()), "verify and verify_line take distributions of SciPy"),
        (lambda: ns.verify_line(bare, 0, X), r"Parzen\(data, sigma\)"),
        (lambda: ns.draw(NET, 3, method="langevn"), "did you mean langevin"),
        (lambda: ns.draw(P, 3), r"it samples itself: \.sample"),
        (lambda: ns.fit(X, model=ns.EnergyMLP), "model is the class EnergyMLP"),
        (lambda: ns.fit(X, objective="denoisng"), "did you mean denoising"),
        (lambda: ns.verify(density="gausian"), "did you mean gaussian"),
        (lambda: ns.verify(density="normal"), "did you mean gaussian"),
        (lambda: ns.verify(density="mine.py"), "path.py:object"),
        (lambda: ns.verify(only="bondary term"), "did you mean boundary term"),
    ],
)  # fmt: skip
def test_the_error_is_the_houses_with_its_cure(call, said):
    with pytest.raises((TypeError, ValueError), match=said):
        call()


def test_control_an_error_of_the_house_keeps_its_own_words():
    with pytest.raises(ValueError, match=r"^energy: x has shape|^evaluate: x has shape"):
        ns.expectation(NET.energy, ns.Gaussian(0.0, 1.0))


def test_control_an_error_of_the_house_within_ones_own_code_is_told_with_its_place():
    def left(x):
        return NET.score(x[:, 0])

    with pytest.raises(
        ValueError, match=r"left raised ValueError: score: x has shape .*\(test_names.py, line \d+, in left;"
    ):
        ns.verify_line(left, 0, P)


@pytest.mark.parametrize(
    "name, said",
    [("sample", r"draw\(network, n"), ("logpdf", "log_normaliser"), ("parameters", r"\.theta"), ("scor", "did you mean score")],
)  # fmt: skip
def test_what_a_network_does_not_answer_is_told(name, said):
    with pytest.raises(AttributeError, match=said):
        getattr(NET, name)


def test_parameters_are_immutable():
    for name in ("theta", "confinement", "conditional", "activation", "dim"):
        with pytest.raises(AttributeError, match=rf"EnergyMLP\.{name} is immutable; .*with_theta"):
            setattr(NET, name, getattr(NET, name))
    for a in (NET.theta, *NET.layers[0], NET.unflatten(NET.theta)[0][0]):
        with pytest.raises(ValueError, match="read-only"):
            a[...] = 0


@pytest.mark.parametrize(
    "wrong, said",
    [
        (lambda: ns.explicit(NET, X, P), r"target_score has dtype object.* It is a Gaussian: .* pass its \.score\(x\)"),
        (lambda: ns.explicit(NET, X, P.score), r"It is a function: pass what it returns for your samples"),
        (lambda: ns.langevin(X, P, 0.1, 10), r"exchanged"),
        (lambda: ns.Parzen(0.4, X), r"It is one number: were two arguments exchanged"),
        (lambda: ns.denoising(NET, 0.1, X), r"It is one number: were two arguments exchanged"),
        (
            lambda: ns.check_score(ns.Gaussian, logpdf=P.logpdf, x=X),
            r"score is the class Gaussian, not one of its objects",
        ),
    ],
    ids=range(6),
)
def test_things_in_place_of_numbers_are_named(wrong, said):
    with pytest.raises((TypeError, ValueError), match=said):
        wrong()
