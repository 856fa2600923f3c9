"""Numbers as they are written down: normals in units of their deviation, whoever was asked for them, and generators wherever they are."""

from types import SimpleNamespace

import numpy as np
import pytest

from numpyscore.check.losses import hearing
from numpyscore.check.losses.hearing import Draw, Ear, Heard, generator, generators_of

V = np.array([[1.0, 2.0], [5.0, 8.0]])


class Tensor:
    """What a framework's number looks like: of no dimension, or hidden by a compiler."""

    def __init__(self, value, ndim=0):
        self.value, self.ndim, self.shape = value, ndim, ()

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.value, dtype)


def test_normals_of_any_mean_and_deviation_are_unit_normals():
    of = lambda *args, name="normal", **options: hearing._standardised(V, args, options, name)
    np.testing.assert_array_equal(of(), V)
    np.testing.assert_array_equal(of(1.0), V - 1)
    np.testing.assert_array_equal(of(1.0, 2.0), (V - 1) / 2)
    np.testing.assert_array_equal(of(1.0, 2.0, (2, 2)), (V - 1) / 2)
    np.testing.assert_array_equal(
        of("the tensor itself", 1.0, 2.0, name="normal_"), (V - 1) / 2
    )  # tensor.normal_(mean, std)
    np.testing.assert_array_equal(of("the tensor itself", name="normal_"), V)
    for options in ({"loc": 1.0, "scale": 2.0}, {"mean": 1.0, "std": 2.0}):
        np.testing.assert_array_equal(of(**options), (V - 1) / 2)
        np.testing.assert_array_equal(of(7.0, 8.0, **options), (V - 1) / 2)
    np.testing.assert_array_equal(of(1.0, scale=2.0), (V - 1) / 2)
    np.testing.assert_array_equal(of(0.0, V), np.ones((2, 2)))
    np.testing.assert_array_equal(of(Tensor(1.0), Tensor(2.0)), (V - 1) / 2)
    assert of("left", 2.0) is V
    for scale in (0.0, -1.0, [1.0, 0.0], "wide", None, object()):
        np.testing.assert_array_equal(of(1.0, scale), V)
    np.testing.assert_array_equal(of(1.0, [1.0, 2.0]), (V - 1) / [1, 2])


def test_normals_of_any_covariance_are_unit_normals():
    cov = np.array([[4.0, 2.0], [2.0, 10.0]])
    root = np.linalg.cholesky(cov)
    white = np.linalg.solve(root, (V - [1, 2]).T).T
    of = lambda value, *args, **options: hearing._standardised(value, args, options, "multivariate_normal")
    np.testing.assert_allclose(of(V, [1.0, 2.0], cov), white)
    np.testing.assert_allclose(of(V, [1.0, 2.0], cov, 2), white)
    np.testing.assert_allclose(of(V, mean=[1.0, 2.0], cov=cov), white)
    np.testing.assert_allclose(of(V, [1.0, 2.0], cov=cov), white)
    np.testing.assert_allclose(of(V[None], [1.0, 2.0], cov), white[None])
    np.testing.assert_allclose(of(V[0], [1.0, 2.0], cov), white[0])
    np.testing.assert_allclose(of(V, cov=cov), np.linalg.solve(root, V.T).T)  # of mean 0
    for wrong in ((V, [1.0, 2.0]), (V, [1.0, 2.0], -cov), (V, [1.0, 2.0, 3.0], cov)):
        assert of(*wrong) is V
    assert hearing._key(()) is None and hearing._key((3,)) is None and hearing._key((V,)) is None


def test_what_stands_behind_a_key_is_mean_and_covariance(monkeypatch):
    """Of jax, whose normals are unit normals already."""
    monkeypatch.setattr(hearing, "_key", lambda args: (1, 2) if args and args[0] == "key" else None)
    cov = np.array([[4.0, 2.0], [2.0, 10.0]])
    white = np.linalg.solve(np.linalg.cholesky(cov), (V - [1, 2]).T).T
    of = lambda args, **options: hearing._standardised(V, args, options, "multivariate_normal")
    np.testing.assert_allclose(of(("key", [1.0, 2.0], cov)), white)
    np.testing.assert_allclose(of(("key",), mean=[1.0, 2.0], cov=cov), white)
    assert hearing._standardised(V, ("key", 1.0, 2.0), {}, "normal") is V


def test_an_ear_notes_numbers_alone():
    ear = Ear()
    for name, value in (
        ("a", V),
        ("b", "text"),
        ("c", [1, 2]),
        ("d", np.array([True])),
        ("e", 3.5),
        ("f", np.array(["x"])),
        ("g", np.uint8([1])),
        ("h", 1j * V),
    ):
        ear.note(name, value, (), {}, "key")
    assert (
        "".join(d.name for d in ear.draws) in ("acdeg", "adeg", "adg")
        and not ear.unseeded
        and all(d.key == "key" for d in ear.draws)
    )
    np.testing.assert_array_equal(ear.draws[0].value, V)
    ear = Ear()
    ear.note("normal", V, (1.0, 2.0), {}, None)
    ear.note("multivariate_normal", V, ([1.0, 2.0], 4 * np.eye(2)), {}, None)
    ear.note("uniform", V, (1.0, 2.0), {}, None)
    np.testing.assert_array_equal(ear.draws[0].value, (V - 1) / 2)
    np.testing.assert_array_equal(ear.draws[1].value, (V - [1, 2]) / 2)
    assert ear.draws[2].value.tolist() == V.tolist() and Draw("a", V).key is None


def test_calls_within_calls_are_written_down_once():
    ear = Ear()
    inner = ear.hears("inner", lambda n: np.full(n, 1.0), lambda args, options: f"state {args} {options}")
    outer = ear.hears("outer", lambda n: inner(n) + 1, lambda args, options: f"state {args}")
    assert outer(2).tolist() == [2, 2] and [(d.name, d.key) for d in ear.draws] == [("outer", "state (2,)")]
    assert (
        inner(n=3).shape == (3,)
        and [(d.name, d.key) for d in ear.draws][1:] == [("inner", "state () {'n': 3}")]
        and ear.depth == 0
    )

    def breaks():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        ear.hears("breaks", breaks)()
    assert ear.depth == 0 and len(ear.draws) == 2


def test_a_recording_generator_gives_what_another_does():
    ear, plain = Ear(), np.random.default_rng(3)
    heard = generator(3, ear)
    assert type(heard) is Heard and heard.ear is ear
    np.testing.assert_array_equal(heard.standard_normal(4), plain.standard_normal(4))
    np.testing.assert_array_equal(heard.normal(1.0, 2.0, 3), plain.normal(1.0, 2.0, 3))
    assert [d.name for d in ear.draws] == ["standard_normal", "normal"] and ear.draws[0].key != ear.draws[1].key
    assert type(ear.draws[0].key) is str and "PCG64" in ear.draws[0].key
    quiet = Heard(np.random.PCG64(3))
    assert quiet.standard_normal(4).tolist() == ear.draws[0].value.tolist() and len(ear.draws) == 2
    same = generator(np.random.PCG64(5), ear)
    assert (
        same.random() == np.random.default_rng(5).random()
        and generator(np.int64(5), ear).random() == np.random.default_rng(5).random()
    )


def test_what_is_looked_through_is_the_user_s_own():
    class Theirs:
        pass

    assert hearing._is_theirs(Theirs()) and hearing._is_theirs(SimpleNamespace) == hasattr(
        SimpleNamespace, "__dict__"
    ) * (type(SimpleNamespace).__module__ not in ("builtins",))
    for other in (3, "a", [1], V, np.random.default_rng(0), SimpleNamespace(a=1), Ear()):
        assert not hearing._is_theirs(other)
    Generator = type("Generator", (), {"__module__": "torch._C"})
    Other = type("Other", (), {"__module__": "torch._C"})
    Third = type("Generator", (), {"__module__": "elsewhere"})
    assert (
        hearing._is_torch_generator(Generator())
        and not hearing._is_torch_generator(Other())
        and not hearing._is_torch_generator(Third())
    )
    assert not hearing._is_torch_generator(np.random.default_rng(0))

    class Deep:
        def __init__(self, inner):
            self.inner = inner

    own = np.random.default_rng(0)
    chain = lambda n: own if n == 0 else Deep(chain(n - 1))
    assert [v for *_, v in generators_of(chain(199))] == [own] and generators_of(
        chain(200)
    ) == []  # two hundred things at most


def test_classes_are_looked_at_by_their_functions():
    own = np.random.default_rng(0)

    class Plain:
        def method(self):
            return own

    class Called(Plain):
        def __call__(self):
            return None

    assert [v for *_, v in generators_of(Plain())] == [own] and generators_of(Called()) == []
    members = list(hearing._members(Called))
    assert all(name != "" or holder is None for holder, name, _ in members)
