"""What is true of every loss: its printed formula, its gradient against complex steps, one visit, one seed, bounded memory.

Tolerances in eps S: the loss of one sample adds at most |s|^2/2 + |t| to the scale of score and trace.
"""

import importlib
import inspect
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from accuracy import LIMITS
from hypothesis import given
from objectives_cases import BOTH, NAMES, RANDOM, SEEDS, cases, difference_formula, family_errors, small
from oracles import absolute

from numpyscore import objectives as objectives_room
from numpyscore.densities.weights import linear_weight
from numpyscore.networks.models import EnergyMLP, ScoreMLP
from numpyscore.objectives import OBJECTIVES
from numpyscore.objectives.denoising import denoising, multilevel_denoising
from numpyscore.objectives.implicit import explicit, generalised, implicit
from numpyscore.objectives.regularised import regularised
from numpyscore.objectives.sliced import finite_difference_sliced, sliced

# ------------------------------------------------------------------------------- values and gradients


@BOTH
@pytest.mark.parametrize("count", [25, pytest.param(300, marks=pytest.mark.nightly)])
def test_every_gradient_against_complex_steps(cls, count):
    worst = dict.fromkeys(NAMES, 0.0)
    for seed in range(count):
        rng, model, x, sigma = small(cls, (count, seed))
        for name, error in family_errors(model, x, sigma, rng).items():
            worst[name] = max(worst[name], error)
    print(cls.kind, {name: f"{error:.1f}" for name, error in worst.items()})
    assert max(worst.values()) <= LIMITS["gradient"], worst


@BOTH
def test_control_every_gradient_test_sees_one_part_in_a_million(cls, monkeypatch):
    """Finite differences are held to S / eps^2, 1e-10 of which is lost to them; the others would see 1e-12."""
    rng, model, x, sigma = small(cls, 6)
    right = model.sweep
    slightly = lambda found: found if found.gradient is None else found._replace(gradient=found.gradient * (1 + 1e-6))
    monkeypatch.setattr(model, "sweep", lambda *a, **k: slightly(right(*a, **k)), raising=False)
    errors = family_errors(model, x, sigma, rng)
    assert min(error for name, error in errors.items() if "finite" not in name) > LIMITS["gradient"], errors


@BOTH
@given(seed=SEEDS)
def test_every_loss_is_its_printed_formula(cls, seed):
    rng, model, x, sigma = small(cls, seed)
    for name, (loss, formula, _) in cases(model, x, sigma, rng).items():
        got, want = loss(model).per_sample, formula()
        assert got.shape == want.shape == (len(x),)
        # terms of either sign: their sizes, through the network's own sums of absolute values, bound the rounding
        size = np.abs(want) + loss_size(model, x, sigma) * 1e3
        np.testing.assert_array_less(np.abs(got - want), (1e-6 if "finite" in name else 1e-12) * size, err_msg=name)


def loss_size(model, x, sigma):
    """A generous size of scores and curvatures at and around x."""
    far = np.abs(x) + 10
    ev = absolute(model, x, **sigma).evaluate(far, trace=True, **sigma)
    return 1 + np.abs(ev.trace) + np.sum(ev.score**2, 1)


# ------------------------------------------------------------------------------- a loss


@BOTH
def test_a_small_step_against_the_gradient_lowers_the_loss_by_its_square(cls):
    """First-order Taylor slope: L(theta - h g) = L - h |g|^2 + O(h^2); halving h quarters what remains."""
    _, model, x, sigma = small(cls, 5)
    for loss in (lambda net: implicit(net, x, **sigma), lambda net: explicit(net, x, -x, **sigma)):
        here, g = loss(model).value, loss(model).gradient
        rest = [
            loss(model.with_theta(model.theta - h * g)).value - here + h * g @ g
            for h in 1e-3 / (1 + g @ g) * np.array([1, 0.5])
        ]
        assert 3.5 < rest[0] / rest[1] < 4.5  # 4 + O(h)


@BOTH
def test_value_first_or_gradient_first_makes_no_difference(cls):
    _, model, x, sigma = small(cls, 9)
    for make in (lambda: implicit(model, x, **sigma), lambda: explicit(model, x, -x, **sigma)):
        one, two = make(), make()
        value, gradient = one.value, one.gradient
        assert gradient is one.gradient and gradient.shape == model.theta.shape
        np.testing.assert_array_equal(two.gradient, gradient)
        np.testing.assert_array_equal(two.per_sample, one.per_sample)
        assert two.value == value


@BOTH
def test_a_loss_is_paid_once(cls, monkeypatch):
    """One forward and one backward sweep in either order; a value alone, if that is said, costs no gradient."""
    _, model, x, sigma = small(cls, 9)
    seen, right = [], model.sweep
    monkeypatch.setattr(model, "sweep", lambda *a, **k: (seen.append(k["gradient"]), right(*a, **k))[1], raising=False)
    for order in (("value", "gradient", "per_sample"), ("gradient", "value"), ("per_sample", "gradient")):
        seen.clear()
        loss = implicit(model, x, **sigma)
        assert seen == [], "nothing before the first reading"
        for name in 2 * order:
            getattr(loss, name)
        assert seen == [True], order
    seen.clear()
    alone = implicit(model, x, **sigma, gradient=False)
    _ = alone.value, alone.per_sample, alone.value
    assert seen == [False]
    _ = alone.gradient, alone.gradient, alone.per_sample
    assert seen == [False, True], "a gradient after all costs a sweep of its own"


@BOTH
def test_the_mean_over_samples_is_the_mean_of_the_losses_of_each(cls):
    model = cls.init(4, (6, 5), "silu", rng=0)
    x = np.random.default_rng(1).standard_normal((300, 4))
    for make in (lambda at: implicit(model, x[at]), lambda at: explicit(model, x[at], -x[at])):
        whole, ones = make(slice(None)), [make(slice(i, i + 1)) for i in range(300)]
        np.testing.assert_allclose(
            whole.per_sample, [one.value for one in ones], rtol=0, atol=1e-13 * np.abs(whole.per_sample).max()
        )
        gradient = np.mean([one.gradient for one in ones], 0)
        np.testing.assert_allclose(whole.gradient, gradient, rtol=0, atol=1e-13 * np.abs(gradient).max())


@BOTH
def test_dtypes_of_losses(cls):
    model = cls.init(3, (4,), "tanh", rng=0, dtype=np.float32)
    x = np.ones((5, 3), np.float32)
    for loss in (
        implicit(model, x),
        explicit(model, x, x),
        explicit(model, x, x.astype(float)),
        explicit(model, x, np.ones((5, 3), int)),
    ):
        assert loss.value.dtype == loss.per_sample.dtype == loss.gradient.dtype == np.float32
    assert implicit(model, x.astype(float)).gradient.dtype == np.float64
    assert implicit(model.with_theta(model.theta + 0j), x).value.dtype.kind == "c"


@BOTH
def test_float32_stays_float32(cls):
    net, x = cls.init(3, (5, 4), "tanh", rng=0, dtype=np.float32), np.full((9, 3), 0.5, np.float32)
    losses = [make(net, x, 0) for make in RANDOM.values()] + [generalised(net, x, *linear_weight())]
    losses += [sliced(net, x, probes=np.ones((9, 3))), denoising(net, x, np.full(9, 0.5), noise=np.ones((9, 3)))]
    for loss in losses:
        assert loss.per_sample.dtype == loss.gradient.dtype == loss.value.dtype == np.float32


@BOTH
def test_memory_does_not_grow_with_probes_or_levels(cls):
    import tracemalloc

    net, x = cls.init(20, (16,), "tanh", rng=0), np.zeros((2000, 20))
    mebi = []
    for make in (
        lambda: sliced(net, x, n_probes=100, rng=0),
        lambda: multilevel_denoising(net, x, np.ones(40), rng=0),
        lambda: generalised(net, x, np.ones_like, np.zeros_like),
        lambda: finite_difference_sliced(net, x, 1e-2, n_probes=5, rng=0),
    ):
        tracemalloc.start()
        _ = make().value
        mebi.append(tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
    print([f"{m:.1f} MiB" for m in mebi])
    assert max(mebi) < 64, mebi


# ------------------------------------------------------------------------------- randomness


@pytest.mark.parametrize("make", RANDOM.values(), ids=RANDOM)
def test_the_same_seed_gives_the_same_bits_and_value_and_gradient_see_the_same_numbers(make):
    net, x = EnergyMLP.init(3, (5, 4), "tanh", rng=0), np.random.default_rng(1).standard_normal((700, 3))
    one, two, other = make(net, x, 5), make(net, x, np.random.default_rng(5)), make(net, x, 6)
    value = one.value
    np.testing.assert_array_equal(one.gradient, two.gradient)  # value first, gradient first
    np.testing.assert_array_equal(one.per_sample, two.per_sample)
    assert value == two.value != other.value
    step = 1e-6 * one.gradient  # the value moves along its own gradient
    slope = (
        make(net.with_theta(net.theta + step), x, 5).value - make(net.with_theta(net.theta - step), x, 5).value
    ) / 2e-6
    assert abs(slope / (one.gradient @ one.gradient) - 1) < 1e-5


def test_a_generator_is_read_once_when_the_loss_is_made():
    net, x = ScoreMLP.init(3, (5,), "tanh", rng=0), np.ones((9, 3))
    for make in RANDOM.values():
        rng = np.random.default_rng(0)
        loss = make(net, x, rng)
        state = rng.bit_generator.state
        _ = loss.value, loss.gradient
        assert rng.bit_generator.state == state
        assert make(net, x, rng).value != loss.value  # the generator has moved on


# ------------------------------------------------------------------------------- the registry


FAMILIES = [
    f"numpyscore.objectives.{path.stem}"
    for path in Path(objectives_room.__file__).parent.glob("*.py")
    if path.stem not in ("__init__", "loss", "arguments", "arrays")
]


def test_every_objective_has_a_row_and_every_name_means_one():
    """A public function of any file of the room that makes a Loss is an objective."""
    made = {
        name: f
        for module in map(importlib.import_module, FAMILIES)
        for name, f in vars(module).items()
        if inspect.isfunction(f) and f.__module__ == module.__name__ and not name.startswith("_")
        if next(iter(inspect.signature(f).parameters)) == "model"
    }
    assert {name: row.function for name, row in OBJECTIVES.items()} == made
    names = [*OBJECTIVES, *(alias for row in OBJECTIVES.values() for alias in row.aliases)]
    assert len(names) == len(set(names)) == len({name.lower().replace("-", "_") for name in names})
    for name, row in OBJECTIVES.items():
        assert row.linear and row.forms and all(isinstance(form, dict) for form in row.forms), name
        assert len({frozenset(form.items()) for form in row.forms}) == len(row.forms), name
        asked = inspect.signature(row.function).parameters
        assert asked["weights"].default is None and asked["gradient"].default is True, name


class Numbers:
    """What `Objective.exact` asks of one sample, in plain floats, from the networks' own quantities."""

    HALF = 0.5
    dot = staticmethod(lambda a, b: sum(x * y for x, y in zip(a, b, strict=True)))
    half_square = staticmethod(lambda a: 0.5 * sum(x * x for x in a))
    mean = staticmethod(lambda a: sum(a) / len(a))

    def __init__(self, net, x, given):
        self.net, self.x, J = net, x, net.jacobian(x)[0]
        self.score, self.diagonal, self.step = net.score(x)[0], np.diag(J), given["step"]
        self.target_score, self.h, self.h_prime, self.noise = (
            given[k][0] for k in ("target_score", "h", "h_prime", "noise")
        )
        self.noise_sigma, self.probes = given["noise_sigma"][0], given["probes"][:, 0]
        self.levels = [(s, eps[0]) for s, eps in zip(given["level_sigmas"], given["level_noise"], strict=True)]
        self.curvatures = [v @ J @ v for v in self.probes]

    def denoising(self, noise, sigma):
        """1/2 |s(x + sigma eps) + eps/sigma|^2."""
        return self.half_square(self.net.score(self.x + sigma * noise)[0] + noise / sigma)

    def differences(self, v, reduced):
        """Of energies or scores, see MATH."""
        return difference_formula(self.net, self.x, {}, v[None], self.step, reduced)[0]


@BOTH
def test_what_a_row_says_of_the_vectors_is_the_loss_itself(cls):
    """`exact` and `losses` name the same things, and mean the same numbers."""
    rng, d = np.random.default_rng(0), 3
    net, x = cls.init(d, (5, 4), "tanh", rng=rng), rng.uniform(0.5, 2, (1, d))
    given = {name: rng.standard_normal((1, d)) for name in ("target_score", "h_prime", "noise")}
    given |= {"h": x**2, "noise_sigma": np.array([0.7]), "level_sigmas": np.array([0.5, 2.0]), "step": 0.0625}
    given |= {"level_noise": rng.standard_normal((2, 1, d)), "probes": rng.standard_normal((2, 1, d))}
    told, named = {"sigma": None}, []
    for row in OBJECTIVES.values():
        if row.losses is None:  # it came after the vectors' schema was closed
            assert row.exact is None
            continue
        losses, exact = row.losses(net, x, given, told), row.exact(Numbers(net, x, given))
        assert list(losses) == list(exact), row.name
        named += losses
        for name, loss in losses.items():
            # eps/step^2 = 6e-14 is lost to second differences
            np.testing.assert_allclose(loss.per_sample[0], exact[name], rtol=1e-12, atol=1e-11, err_msg=name)
    assert len(named) == len(set(named)) and {name for name, row in OBJECTIVES.items() if row.losses} <= set(named)


@BOTH
def test_what_a_row_says_to_check_is_the_loss_itself(cls):
    """`right`, constant, linear and square term of an observation, adds up to each sample's loss; a half forgotten is seen."""
    rng, n, d, m = np.random.default_rng(1), 6, 3, 2
    net, x = cls.init(d, (5, 4), "tanh", rng=rng), rng.uniform(0.5, 2, (n, d))
    draw, v, levels = lambda *shape: rng.standard_normal(shape), rng.standard_normal((m, n, d)), np.array([0.5, 2.0])
    sees = {"target": draw(n, d), "h": x**2, "h_prime": draw(n, d), "v": v, "numbers": {"lam": 0.3}, "step": 0.0625}
    sees |= {"energies": cls is EnergyMLP, "square_at_x": False, "forward": False, "probe": net, "weight": 1.0}
    eps, level = draw(n, d), levels[np.arange(n) % 2][:, None]
    once = SimpleNamespace(jacobian=lambda at: net.jacobian(at)[None])  # of probes (m, n, d), one Jacobian for all m
    noisy = {"noise": eps, "at": x + level * eps, "sigma": level[:, 0], "shift": level * eps}
    made = {
        "explicit": [(explicit(net, x, sees["target"]), {})],
        "implicit": [(implicit(net, x), {})],
        "generalised": [(generalised(net, x, sees["h"], sees["h_prime"]), {})],
        "regularised": [(regularised(net, x, 0.3), {})],
        "sliced": [
            (sliced(net, x, probes=v, variance_reduced=a), {"variance_reduced": a, "probe": once})
            for a in (True, False)
        ],
        "finite_difference_sliced": [
            (
                finite_difference_sliced(net, x, 0.0625, probes=v[0], variance_reduced=a),
                {"variance_reduced": a, "v": v[0]},
            )
            for a in (True, False)
            if not (
                a and cls is EnergyMLP
            )  # an energy's |s|^2 is that of means over all dimensions: no form people use
        ],
        "denoising": [(denoising(net, x, level[:, 0], noise=eps), noisy | {"sigma": level})],
        "multilevel_denoising": [
            (
                multilevel_denoising(net, x, levels, noise=eps, level=np.arange(n) % 2),
                noisy | {"sigma": level, "weight": level[:, 0] ** 2},
            )
        ],
    }
    assert made.keys() == OBJECTIVES.keys()
    for name, forms in made.items():
        for loss, form in forms:
            q = SimpleNamespace(**{"at": x, "x": x} | sees | form)
            constant, linear, square = OBJECTIVES[name].right(q, net.score(q.at))
            several = name == "sliced"  # each probe has a term; the square without probes serves all
            total = np.mean(constant + linear + square, 0) if several else constant + linear + square
            np.testing.assert_allclose(total, loss.per_sample, rtol=1e-12, atol=1e-11, err_msg=name)
            assert (
                min(np.abs(a).mean() for a in (square, linear)) > 1e-3
            )  # control: the half of either is far from right
            if several:
                continue
            # seen at several points at once (k, n, d), by a probe that is asked at all of them
            rows = lambda f: lambda at, f=f: f(at.reshape(-1, d)).reshape(*at.shape[:-1], *f(x).shape[1:])
            asked = ("score", "trace", "jacobian", *["energy"] * (cls is EnergyMLP))
            probe = SimpleNamespace(**{what: rows(getattr(net, what)) for what in asked})
            q = SimpleNamespace(**vars(q) | {"at": np.stack([q.at] * 4), "x": np.stack([q.x] * 4), "probe": probe})
            terms = OBJECTIVES[name].right(q, probe.score(q.at))
            np.testing.assert_allclose(sum(terms), [total] * 4, rtol=1e-11, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_row_of_the_registry_says_what_its_loss_must_be_handed(name):
    row = OBJECTIVES[name]
    asked = [p for p in inspect.signature(row.function).parameters.values() if p.default is p.empty]
    assert len(asked) == 2 + row.first + len(row.numbers) and row.first <= len(row.takes)  # beside the model and x


def test_a_value_alone_visits_no_parameter(monkeypatch):
    """With gradient=False every objective sweeps without a gradient until one is read; otherwise value and gradient are one visit."""
    from numpyscore.networks.base import MLP

    real, asked = MLP.sweep, []
    monkeypatch.setattr(
        MLP, "sweep", lambda *a, gradient=False, **k: (asked.append(gradient), real(*a, gradient=gradient, **k))[1]
    )
    net, x = EnergyMLP.init(2, (4,), rng=0), np.ones((3, 2))
    level = EnergyMLP.init(2, (4,), conditional=True, confinement=1.0, rng=0)
    makers = {
        "explicit": lambda g: explicit(net, x, 0 * x, gradient=g),
        "implicit": lambda g: implicit(net, x, gradient=g),
        "generalised": lambda g: generalised(net, x, x, 0 * x + 1, gradient=g),
        "denoising": lambda g: denoising(net, x, 0.5, rng=0, gradient=g),
        "multilevel": lambda g: multilevel_denoising(level, x, [1.0, 0.5], rng=0, gradient=g),
        "sliced": lambda g: sliced(net, x, rng=0, gradient=g),
        "differences": lambda g: finite_difference_sliced(net, x, 1e-2, rng=0, gradient=g),
    }
    for name, make in makers.items():
        for wanted in (False, True):
            asked.clear()
            loss = make(wanted)
            assert np.isfinite(loss.value) and set(asked) == {wanted}, name
            asked.clear()
            assert np.isfinite(loss.gradient).all() and set(asked) == (set() if wanted else {True}), name


def test_a_kink_is_refused_by_name_when_a_loss_with_second_derivatives_is_made():
    """relu has none; what asks for the score alone takes it, by a network whose output is the score."""
    net, x = ScoreMLP.init(2, (4,), "relu", rng=0), np.ones((3, 2))
    makers = {
        "implicit": lambda: implicit(net, x),
        "generalised": lambda: generalised(net, x, x, x),
        "regularised": lambda: regularised(net, x, 0.3),
        "sliced": lambda: sliced(net, x, rng=0),
    }
    for name, make in makers.items():
        with pytest.raises(ValueError, match=f"^{name}.*not twice differentiable"):
            make()
    assert np.isfinite(explicit(net, x, 0 * x).value) and np.isfinite(denoising(net, x, 0.5, rng=0).gradient).all()


def test_sums_and_multiples_of_losses_are_losses():
    """Values, gradients and samples of any combination, by NumPy; a constant moves the value and the samples, and no gradient."""
    net, x = EnergyMLP.init(2, (3,), rng=0), np.random.default_rng(0).standard_normal((5, 2))
    a, b = implicit(net, x), explicit(net, x, -x)
    for made, want in (
        (a + b, lambda u, v, one: u + v), (a + 0.5 * b, lambda u, v, one: u + 0.5 * v), (a - b, lambda u, v, one: u - v),
        (2 * a / 4, lambda u, v, one: u / 2), (a * 3 + 1, lambda u, v, one: 3 * u + one), (1 - a, lambda u, v, one: one - u),
        ((a + 1) - (b + 3), lambda u, v, one: u - v - 2 * one), ((a + 2) * 3, lambda u, v, one: 3 * u + 6 * one), (1 + (a + b) * 2, lambda u, v, one: 2 * u + 2 * v + one),
        ((a + b) + (a - 1), lambda u, v, one: 2 * u + v - one), (-1.0 * a + b, lambda u, v, one: v - u),
    ):  # fmt: skip
        assert made.value == pytest.approx(want(a.value, b.value, 1.0), rel=1e-12)
        np.testing.assert_allclose(made.per_sample, want(a.per_sample, b.per_sample, 1.0), rtol=1e-12)
        np.testing.assert_allclose(made.gradient, want(a.gradient, b.gradient, 0.0), rtol=1e-12, atol=1e-13)
    assert a * b == pytest.approx(a.value * b.value) and (a + 1) * b == pytest.approx((a.value + 1) * b.value)
    assert repr(a).startswith("Loss(implicit, value=") and repr(a).endswith(", n=5)")
    assert repr(a + 0.5 * b + 2).startswith("Loss(0.5 explicit + 1 implicit + 2, value=")
    assert repr(a + b).startswith("Loss(1 implicit + 1 explicit, value=")
    other = EnergyMLP.init(2, (4,), rng=0)
    with pytest.raises(
        ValueError,
        match=r"gradient of a sum of losses: they have 13, 17 entries, expected as many each: the losses of one network\.",
    ):
        _ = (a + implicit(other, x)).gradient
    with pytest.raises(
        ValueError, match=r"per_sample of a sum of losses: they have 4, 5 entries, .* of one network at as many samples"
    ):
        _ = (a + implicit(net, x[:4])).per_sample
    for nonsense in (
        lambda: a + "1",
        lambda: a * "1",
        lambda: a / "1",
        lambda: a - "1",
        lambda: "1" - a,
        lambda: (a + b) * "1",
        lambda: (a + b) + "1",
    ):
        with pytest.raises(TypeError):
            nonsense()


def test_forms_that_are_all_right_are_these():
    assert OBJECTIVES["sliced"].forms == ({"variance_reduced": True}, {"variance_reduced": False})
    found = [
        tuple(form[name] for name in ("energies", "variance_reduced", "square_at_x", "forward"))
        for form in OBJECTIVES["finite_difference_sliced"].forms
    ]
    T, F = True, False
    assert found == [(T, F, F, F), (T, T, F, F), (F, F, F, F), (F, T, F, F), (T, F, T, F), (T, T, T, F), (F, F, T, F), (F, T, T, F), (F, F, T, T), (F, T, T, T)]  # fmt: skip
    assert {name: (row.first, row.takes) for name, row in OBJECTIVES.items()} == {
        "explicit": (1, ("target",)), "implicit": (0, ()), "generalised": (2, ("h", "h_prime")), "regularised": (0, ()), "sliced": (0, ("v", "n_probes")),
        "denoising": (1, ("sigma", "noise", "alpha", "t")), "multilevel_denoising": (1, ("sigmas", "noise", "level", "alphas")),
        "finite_difference_sliced": (1, ("step", "v", "n_probes")),
    }  # fmt: skip
    said = {name for name, row in OBJECTIVES.items() if row.losses and row.exact}
    assert said == {*OBJECTIVES} - {"regularised"}  # it came after the vectors' schema was closed
    assert {name: row.aliases for name, row in OBJECTIVES.items()} == {
        "explicit": ("esm", "fisher"), "implicit": ("ism", "hyvarinen"), "generalised": ("generalized",), "denoising": ("dsm",),
        "multilevel_denoising": ("multilevel",), "sliced": ("ssm", "sliced_vr", "ssm_vr", "sliced_variance_reduced"),
        "finite_difference_sliced": ("fd_sliced", "fdssm", "finite_difference"), "regularised": ("kingma_lecun",),
    }  # fmt: skip
