"""Arrays from anywhere: every framework stood in for by a class that has its words and its traps, and the real ones where installed."""

import sys
import types

import numpy as np
import pytest

from numpyscore.common import arrays as foreign


class Tensor:
    """What torch's tensors are like: numpy() works only after detach, cpu, resolve_conj and resolve_neg, and shares memory."""

    def __init__(self, a, done=(), dtype="torch.float64"):
        self.a, self.done, self.dtype = np.asarray(a), done, dtype

    def _then(self, step):
        return Tensor(-self.a if step == "resolve_neg" else self.a, (*self.done, step), self.dtype)

    detach = lambda self: self._then("detach")
    cpu = lambda self: self._then("cpu")
    resolve_conj = lambda self: self._then("resolve_conj")
    resolve_neg = lambda self: self._then("resolve_neg")

    def float(self):
        return Tensor(self.a.astype(np.float32), self.done, "torch.float32")

    def numpy(self):
        if self.dtype.endswith(("bfloat16", "float16")):
            raise TypeError("Got unsupported ScalarType")
        assert self.done == ("detach", "cpu", "resolve_conj", "resolve_neg"), self.done
        return self.a


class Dlpack:
    """Something that knows DLPack alone."""

    def __init__(self, a):
        self.a = a

    def __dlpack__(self, **options):
        return self.a.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.a.__dlpack_device__()


def test_a_tensor_is_asked_in_the_right_order_and_copied():
    a = np.arange(6.0).reshape(2, 3)
    got = foreign.to_numpy(Tensor(a))
    assert np.array_equal(got, -a) and not np.shares_memory(got, a)  # the negative bit is resolved, not forgotten


def test_half_precisions_are_widened():
    for name in ("torch.bfloat16", "torch.float16"):
        got = foreign.to_numpy(Tensor([1.0, 2.0], dtype=name))
        assert got.dtype == np.float32 and np.array_equal(got, [-1, -2])
    assert foreign.to_numpy(np.ones(2, np.float16)).dtype == np.float32


@pytest.mark.parametrize(
    "make",
    [
        Dlpack,
        lambda a: types.SimpleNamespace(__array__=lambda: a).__array__(),
        list,
        lambda a: [Tensor(-row) for row in a],
    ],
)
def test_other_ways_in(make):
    a = np.arange(6.0).reshape(2, 3)
    assert np.array_equal(foreign.to_numpy(make(a)), a)


@pytest.mark.parametrize(
    "a",
    [np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.arange(6.0)[::-2], np.arange(4, dtype=">f8"), np.arange(3)],
)
def test_what_comes_out_is_ours(a):
    got = foreign.to_numpy(a)
    assert got.flags.c_contiguous and got.flags.writeable and got.dtype.isnative and np.array_equal(got, a)
    assert not np.shares_memory(got, a)


@pytest.mark.parametrize("value", [None, "text", object(), {"a": 1}, [[1, 2], [3]], np.array([None])])
def test_what_is_no_numbers_is_refused_by_name(value):
    with pytest.raises(TypeError, match="the score"):
        foreign.to_numpy(value, "the score")


def test_wrap_is_a_name_a_function_or_none():
    assert isinstance(foreign.wrapper("f", None)(np.ones(2)), np.ndarray)
    assert foreign.wrapper("f", Tensor) is Tensor
    for wrong in ("pytorch", 3):
        with pytest.raises(TypeError, match="f: wrap is"):
            foreign.wrapper("f", wrong)


def test_a_framework_that_is_not_there_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ValueError, match="torch cannot be imported here"):
        foreign.wrapper("f", "torch")


def test_global_generators_are_seeded_and_go_on_as_before():
    np.random.seed(5)  # noqa: NPY002
    first = np.random.standard_normal(3)  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    with foreign.same_randomness(1):
        a = np.random.standard_normal(3)  # noqa: NPY002
    assert np.array_equal(np.random.standard_normal(3), first)  # noqa: NPY002
    with foreign.same_randomness(1):
        assert np.array_equal(np.random.standard_normal(3), a)  # noqa: NPY002


# ------------------------------------------------------------------------------- the real ones


def test_torch_views_gradients_and_dtypes():
    torch = pytest.importorskip("torch")
    a = np.arange(6.0).reshape(2, 3)
    t = torch.tensor(a, requires_grad=True)
    assert np.array_equal(foreign.to_numpy(t * 1), a) and foreign.dtype_name(t) == "torch.float64"
    z = torch.tensor(a + 1j * a)
    assert np.array_equal(foreign.to_numpy(z.conj()), a - 1j * a)
    assert np.array_equal(foreign.to_numpy(z.conj().imag), -a)  # a tensor with the negative bit
    assert foreign.to_numpy(t.bfloat16()).dtype == np.float32
    got = foreign.to_numpy(t)
    got[:] = 7
    assert float(t.detach()[0, 1]) == 1.0
    made = foreign.wrapper("f", None, torch.zeros(1, dtype=torch.float32))(a)
    assert made.dtype == torch.float32 and np.array_equal(foreign.to_numpy(made), a)
    state = torch.get_rng_state()
    with foreign.same_randomness(3):
        b = torch.randn(4)
    assert torch.equal(torch.get_rng_state(), state)
    with foreign.same_randomness(3):
        assert torch.equal(torch.randn(4), b)


def test_torch_under_vmap_and_grad_shows_its_numbers():
    torch = pytest.importorskip("torch")
    seen = []

    def f(x):
        seen.append(foreign.concrete(x))
        return (x * x).sum()

    x = torch.arange(6.0, dtype=torch.float64).reshape(2, 3)
    torch.func.vmap(torch.func.grad(f))(x)
    assert np.array_equal(seen[0], x.numpy())


def test_jax_in_out_and_under_transformations():
    jax = pytest.importorskip("jax")
    a = np.arange(6.0).reshape(2, 3)
    j = foreign.wrapper("f", "jax")(a)
    got = foreign.to_numpy(j)
    assert got.flags.writeable and np.array_equal(got, a) and foreign.framework(j) == "jax"
    assert foreign.dtype_name(j) == ("float64" if jax.config.jax_enable_x64 else "float32")
    seen = []

    def f(x):
        seen.append(foreign.concrete(x))
        return (x * x).sum()

    jax.vmap(jax.grad(f))(j)
    assert np.array_equal(seen[0], a)
    jax.jit(f)(j)
    assert seen[1] is None


def test_jax_like_and_its_randomness_and_derivatives():
    jax = pytest.importorskip("jax")
    j = jax.numpy.arange(3, dtype="float32")
    made = foreign.wrapper("f", None, j)(np.ones(2))
    assert foreign.framework(made) == "jax" and made.dtype == j.dtype
    key = foreign.source("key", 3, None)
    assert np.array_equal(jax.random.normal(key, (2,)), jax.random.normal(jax.random.PRNGKey(3), (2,)))
    assert np.array_equal(foreign.source("rng", 3, "jax"), key)
    found = foreign.derivative_in(lambda scale: scale**3 * jax.numpy.ones(2), jax.numpy.float32(2.0), "jax")
    assert found == 24.0 and isinstance(found, float)


def test_torch_modules_of_one_parameter_and_their_derivatives():
    torch = pytest.importorskip("torch")
    x, scale = torch.tensor([1.0, 2.0]), torch.tensor(3.0)
    model = foreign.model_with_parameter(lambda x, s, shift=0.0: s * x + shift, scale, "torch")
    assert [p.item() for p in model.parameters()] == [3.0] and torch.equal(model(x, shift=1.0), 3 * x + 1)
    model(x).sum().backward()
    assert model.scale.grad == 3.0 and scale.grad is None
    assert foreign.derivative_in(lambda s: s**3 * torch.ones(2), torch.tensor(2.0), "torch") == 24.0
    assert foreign.derivative_in(lambda s: 7.0, torch.tensor(2.0), "torch") is None  # a number has no graph
    assert foreign.derivative_in(lambda s: s.detach() ** 2, torch.tensor(2.0), "torch") == 0.0
    assert foreign.derivative_in(lambda s: x.clone().requires_grad_(True), torch.tensor(2.0), "torch") == 0.0
    generator = foreign.source("generator", 5, "torch")
    assert torch.equal(torch.randn(3, generator=generator), torch.randn(3, generator=torch.Generator().manual_seed(5)))


def test_without_a_framework_a_source_is_the_seed_or_a_generator_and_there_is_no_derivative(monkeypatch):
    assert foreign.source("seed", 5, None) == 5
    assert foreign.source("rng", 5, None).random() == np.random.default_rng(5).random()
    monkeypatch.setitem(sys.modules, "jax", None)
    assert foreign.source("key", 5, None) == 5
    assert foreign.derivative_in(lambda s: s, 1.0, "numpy") is None
    plain = foreign.model_with_parameter(lambda x, s, shift=0: s * x + shift, 3.0, "numpy")
    assert plain(2.0, 1.0) == 7.0 == plain(2.0, shift=1.0)


def test_the_numbers_behind_wrappers_are_found_and_where_there_are_none_it_says_none():
    wrapped = types.SimpleNamespace(primal=types.SimpleNamespace(val=np.arange(3.0), dtype=float))
    assert np.array_equal(foreign.concrete(wrapped), np.arange(3.0))
    assert foreign.concrete(types.SimpleNamespace(val=object())) is None
    traced = types.SimpleNamespace(val=types.SimpleNamespace(aval="a variable of a program, and no array"))
    assert foreign.bare(types.SimpleNamespace(val=np.arange(2), dtype=int)).tolist() == [0, 1]
    assert foreign.bare(traced) is traced and foreign.concrete(traced) is None
    ring = types.SimpleNamespace(dtype=float)
    ring.val = ring
    assert foreign.concrete(ring) is None
