r"""The contenders of `bench`: ourselves and the peers, each built in a process of its own, where `worker` answers for it.

A case is a tanh energy network and a batch, and its name says all of it: ``f32-d784-128x128x128-n128``. Ours are "exact" and "textbook".
The peers: "jax" traces `jax.hessian`; "folx" is the forward Laplacian; "torch" loops over d backward passes;
"torch.func" is forward over reverse, the jvp of grad, vmapped over basis vectors; "jet" is collapsed Taylor mode of
jet-for-pytorch >= 1.0 (Dangel et al. 2025, https://openreview.net/forum?id=XgQVL1uP34).
"""

import importlib
import itertools
import json
import math
import os
import re
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from ..networks.models import EnergyMLP
from ..objectives.implicit import implicit

# and what the tables call them; value_first is the loss again, of those who compute it when it is read
QUANTITIES = {"trace": "trace", "loss": "loss + gradient", "value_first": "value, then gradient"}
OURS = {name: f"{__name__}:_{name}" for name in ("exact", "textbook")}
PEERS = {name: f"{__name__}:_{name.replace('.', '_')}" for name in ("jax", "folx", "torch", "torch.func", "jet")}
PASSES = 1e8  # numbers in all the (n, d) arrays that a loop over basis vectors may visit: a few seconds
MEMORY = 12 << 30  # bytes beyond which full Hessians are not attempted


# ------------------------------------------------------------------------------- cases


class Case(NamedTuple):
    """A network and a batch: dtype "f32" or "f64", input dimension, hidden widths, samples."""

    dtype: str
    d: int
    widths: tuple
    n: int

    @property
    def name(self):
        """For example f32-d784-128x128x128-n128."""
        return f"{self.dtype}-d{self.d}-{'x'.join(map(str, self.widths))}-n{self.n}"

    @classmethod
    def named(cls, name):
        """The case with this name; any numbers will do, not only those of the table."""
        found = re.fullmatch(r"(f32|f64)-d([1-9]\d*)-([1-9]\d*(?:x[1-9]\d*)*)-n([1-9]\d*)", name)
        if not found:
            raise ValueError(f"case {name!r} is unknown, expected dtype, d, widths and n as in {CASES[0].name}")
        dtype, d, widths, n = found.groups()
        return cls(dtype, int(d), tuple(map(int, widths.split("x"))), int(n))

    def problem(self):
        """The network and its input, the same in every process."""
        dtype = {"f32": np.float32, "f64": np.float64}[self.dtype]
        model = EnergyMLP.init(self.d, self.widths, "tanh", rng=0, dtype=dtype)
        return model, np.random.default_rng(1).standard_normal((self.n, self.d)).astype(dtype)

    def flops(self, quantity):
        """Floating-point operations in the exact method's matrix products, by formula: a dict of its parts.

        With r = min(d, n_1) rows R, triangular if d > n_1 and then of n_1 (n_1 + 1)/2 numbers; L = 1 needs none:

        - forward, adjoint: 2 n n_l n_{l+1} per layer, the adjoint down to the input for the loss only;
        - rows: 2 n (numbers in R) n_2 + sum_{l >= 2} 2 n r n_l n_{l+1}, three times that with the gradient;
        - factor, if d > n_1: d n_1^2 for the symmetric W_1^T W_1 and n_1^3/3; 2 d n_1^2 + 5 n_1^3/6 to lift R's cotangent;
        - pullback of adjoint and forward pass: two products per layer each, none for a cotangent of x.

        Elementwise work is not counted.
        """
        n, d, (first, *_), loss = self.n, self.d, self.widths, quantity != "trace"
        hidden = [a * b for a, b in itertools.pairwise(self.widths)]
        bottom, middle, top = 2 * n * d * first, 2 * n * sum(hidden), 2 * n * self.widths[-1]
        factored = d > first and bool(hidden)
        numbers = first * (first + 1) // 2 if factored else min(d, first) * first
        rows = 2 * n * (numbers * self.widths[1] + min(d, first) * sum(hidden[1:])) if hidden else 0
        return {
            "forward": bottom + middle + top,
            "adjoint": middle + top + loss * bottom,
            "rows": rows * (3 if loss else 1),
            "factor": factored * ((1 + 2 * loss) * d * first**2 + (1 / 3 + 5 / 6 * loss) * first**3),
            "pullback": loss * (3 * bottom + 4 * middle + top),
        }


CASES = (
    Case("f32", 784, (128, 128, 128), 128),
    Case("f32", 3072, (256, 256, 256), 64),
    Case("f32", 12288, (128, 128, 128), 64),
    Case("f64", 2, (128, 128), 4096),
    Case("f32", 784, (512, 512), 64),
    Case("f64", 64, (128, 128, 128), 256),
    Case("f64", 10, (64, 64), 2048),
)
CURVE = tuple(
    Case("f32", d, (128, 128, 128), 64) for d in sorted({*(2**k for k in range(1, 14)), 10, 784, 3072, 12288})
)


# ------------------------------------------------------------------------------- contenders, built in their processes


class Contender(NamedTuple):
    """`trace()` gives (n,), `loss()` (value, gradient), of the trace's first `passes` terms only unless that is None.

    `value_first()` gives what `loss()` gives, having read the value before the gradient; None where there is no such order.
    """

    trace: Callable
    loss: Callable | None
    passes: int | None = None
    value_first: Callable | None = None


class Skipped(Exception):
    """A contender declines a case; the reason is told."""


def _passes(x):
    """How many of the d basis vectors a loop may take; None for all of them."""
    k = max(1, int(PASSES / x.size))
    return k if k < x.shape[1] else None


def _exact(model, x):
    def loss():
        found = implicit(model, x)
        gradient = found.gradient
        return found.value, gradient

    def value_first():
        found = implicit(model, x)
        return found.value, found.gradient

    return Contender(lambda: model.trace(x), loss, value_first=value_first)


def _hold(x, copies):
    """Decline a case that needs this many (n, d, d) arrays at a time, if they exceed `MEMORY`."""
    need = copies * x.size * x.shape[1] * x.itemsize
    if need > MEMORY:
        raise Skipped(f"would hold about {need / 2**30:.0f} GiB, more than the limit of {MEMORY / 2**30:.0f}")


def _textbook(model, x):
    def some():
        total = np.zeros(len(x), x.dtype)
        for i in range(k):
            e_i = np.zeros_like(x)
            e_i[:, i] = 1
            total += model.vjp(x, e_i)[:, i]
        return total

    k = _passes(x)
    return Contender(some if k else lambda: model.trace(x, method="textbook"), None, k)


def _jit(model, x, second, hessians=0):
    """From `second`, which takes an energy and a point to (its gradient, its Laplacian), holding some (n, d, d) arrays."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax  # type: ignore[import-not-found]
    import jax.numpy as jnp  # type: ignore[import-not-found]

    jax.config.update("jax_enable_x64", x.dtype == np.float64)
    theta, points = jax.tree.map(jnp.asarray, (model.layers, x))

    def local(theta, a):
        def energy(a):
            for W, b in theta[:-1]:
                a = jnp.tanh(a @ W + b)
            return (a @ theta[-1][0] + theta[-1][1])[0]

        return second(energy, a)

    def mean(theta, points):
        u, laplacian = jax.vmap(lambda a: local(theta, a))(points)
        return jnp.mean(0.5 * jnp.sum(u**2, axis=1) - laplacian)

    trace = jax.jit(lambda theta, points: -jax.vmap(lambda a: local(theta, a)[1])(points))
    loss = jax.jit(jax.value_and_grad(mean))

    def call(function, copies):
        _hold(x, copies)
        return jax.block_until_ready(function(theta, points))

    return Contender(lambda: call(trace, hessians), lambda: call(loss, 2 * hessians))


def _jax(model, x):
    import jax  # type: ignore[import-not-found]
    import jax.numpy as jnp  # type: ignore[import-not-found]

    return _jit(model, x, lambda f, a: (jax.grad(f)(a), jnp.trace(jax.hessian(f)(a))), hessians=2)


def _folx(model, x):
    import folx  # type: ignore[import-not-found]

    def second(f, a):
        found = folx.forward_laplacian(f)(a)
        return found.jacobian.dense_array, found.laplacian

    return _jit(model, x, second)


def _torch(model, x):
    import torch  # type: ignore[import-not-found]

    theta = [torch.tensor(a, requires_grad=True) for pair in model.layers for a in pair]
    k = _passes(x)

    def local(create_graph):
        points = torch.tensor(x, requires_grad=True)
        a = points
        for W, b in zip(theta[:-2:2], theta[1:-2:2], strict=True):
            a = torch.tanh(a @ W + b)
        (u,) = torch.autograd.grad((a @ theta[-2] + theta[-1]).sum(), points, create_graph=True)
        trace: Any = 0
        for i in range(k or x.shape[1]):
            (row,) = torch.autograd.grad(u[:, i].sum(), points, create_graph=create_graph, retain_graph=True)
            trace = trace - row[:, i]
        return u, trace

    def loss():
        u, trace = local(True)
        value = (0.5 * (u**2).sum(1) + trace).mean()
        # the output's bias moves neither score nor trace
        return value.detach(), torch.autograd.grad(value, theta, allow_unused=True, materialize_grads=True)

    return Contender(lambda: local(False)[1].detach(), loss, k)


def _vmapped(model, x, second, hessians=0):
    """From `second`, which makes of an energy a function of a point to (its gradient, its Laplacian), as `_jit`."""
    import torch  # type: ignore[import-not-found]

    theta = [torch.nn.Parameter(torch.tensor(a)) for pair in model.layers for a in pair]
    weights = [W.T for W in theta[::2]]  # (h_out, h_in), as torch has it
    points = torch.tensor(x)

    def energy(a):
        for W, b in zip(weights[:-1], theta[1:-2:2], strict=True):
            a = torch.tanh(torch.nn.functional.linear(a, W, b))
        return torch.nn.functional.linear(a, weights[-1], theta[-1]).squeeze(0)

    local = torch.vmap(second(energy, points[0]))

    def trace():
        _hold(x, hessians)
        with torch.no_grad():
            return -local(points)[1]

    def loss():
        _hold(x, 2 * hessians)
        u, laplacian = local(points)
        value = (0.5 * (u**2).sum(1) - laplacian).mean()
        # the weights' transposes are views made once, so their graph is needed again; the output's bias moves nothing
        options = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
        return value.detach(), torch.autograd.grad(value, theta, **options)

    return Contender(trace, loss)


def _torch_func(model, x):
    import torch  # type: ignore[import-not-found]

    def second(f, point):
        basis = torch.eye(len(point), dtype=point.dtype)
        gradient = torch.func.grad(f)

        def local(a):
            along = torch.vmap(lambda e: torch.func.jvp(gradient, (a,), (e,))[1] @ e)  # e^T H e
            return gradient(a), along(basis).sum()

        return local

    return _vmapped(model, x, second, hessians=1)


def _jet(model, x):
    import jet  # type: ignore[import-not-found]
    import torch  # type: ignore[import-not-found]

    def second(f, point):
        basis, zero = torch.eye(len(point), dtype=point.dtype), torch.zeros_like(point)
        series = jet.jet(f, (point,), collapsed=True)

        def local(a):
            _, gradient, laplacian = series((a, basis, zero))  # second coefficients are summed over the directions
            return gradient, laplacian

        return local

    return _vmapped(model, x, second)


# ------------------------------------------------------------------------------- the contender's process


def worker(build, name):
    """Answer requests, a line of JSON each, on stdin and stdout, for the contender that `build` makes of a case.

    Parameters
    ----------
    build : str
        "module:function", a function of (model, x) that returns a `Contender`.
    name : str
        Of the case.
    """
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes to stderr
    model, x = Case.named(name).problem()
    contender: Any = None
    before, seconds, results = 0, {}, {}

    def start():
        nonlocal contender, before
        module, function = build.split(":")
        contender = getattr(importlib.import_module(module), function)(model, x)
        before = _memory("VmRSS")
        there = [quantity for quantity in QUANTITIES if getattr(contender, quantity) is not None]
        return {"scaled": x.shape[1] / (contender.passes or x.shape[1]), "quantities": there}

    def first(quantity):
        results[quantity] = getattr(contender, quantity)()  # compiles
        with suppress(OSError), open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the peak from here on, without that of the compiler
        seconds[quantity] = _lasts(getattr(contender, quantity))
        return {"memory": max(0, _memory("VmHWM") - before)}

    def check(quantity):
        return {"gap": _gap(model, x, contender.passes, quantity, results.pop(quantity))}

    def turn(quantity, at_least):
        call = getattr(contender, quantity)
        if seconds[quantity] < at_least:
            call()  # fills the caches that others have emptied
        return {"seconds": _lasts(call, max(1, math.ceil(at_least / seconds[quantity])))}

    def peak():
        best = 0.0
        for size in (1024, 2048):
            a = np.random.default_rng(0).standard_normal((size, size)).astype(x.dtype)
            out = np.empty_like(a)
            best = max(best, *(2 * size**3 / _lasts(lambda: np.matmul(a, a, out=out)) for _ in range(2)))  # noqa: B023
        return {"peak": best}

    jobs: dict[str, Any] = {"start": start, "first": first, "check": check, "turn": turn, "peak": peak}
    for line in sys.stdin:
        job, *args = json.loads(line)
        try:
            reply = jobs[job](*args)
        except Skipped as reason:
            reply = {"status": "skipped", "reason": str(reason)}
        except Exception as error:
            reply = {"status": "failed", "reason": f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]}
        channel.write(json.dumps(reply) + "\n")
        channel.flush()
    channel.close()


def _lasts(call, repetitions=1):
    """Seconds of one call."""
    start = time.perf_counter()
    for _ in range(repetitions):
        call()
    return (time.perf_counter() - start) / repetitions


def _memory(field):
    """Resident bytes of this process: VmRSS now, VmHWM at the peak (which stands for both where there is no /proc)."""
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) << 10 for line in file if line.startswith(field))
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _gap(model, x, k, quantity, result):
    """Largest difference of a result of k (None: all) basis vectors from our own numbers, in units of the largest."""
    n, d = x.shape
    if k is None:
        here, bar = model.evaluate(x, trace=True), "trace_bar"
        trace = here.trace
    else:
        basis = np.broadcast_to(np.eye(k, d, dtype=x.dtype)[:, None], (k, n, d))
        here, bar = model.evaluate(x, curvature=basis), "curvature_bar"
        trace = here.curvature.sum(0)
    if quantity == "trace":
        pairs = [(result, trace, np.abs(trace).max())]
    else:
        square = 0.5 * np.sum(here.score**2, axis=1)
        gradient = here.pullback(score_bar=here.score / x.dtype.type(n), **{bar: 1 / n})
        pairs = [(result[0], np.mean(square + trace), np.mean(square + np.abs(trace)))]
        pairs += [(_flat(result[1]), gradient, np.abs(gradient).max())]
    gap = 0.0
    for theirs, ours, scale in pairs:
        if np.shape(theirs) != np.shape(ours):
            raise ValueError(f"the {quantity} has shape {np.shape(theirs)}, expected {np.shape(ours)}")
        gap = max(gap, float(np.nan_to_num(np.max(np.abs(np.asarray(theirs) - ours)) / scale, nan=np.inf)))
    return min(gap, sys.float_info.max)  # JSON has no infinity


def _flat(gradient):
    """One vector from nested sequences of arrays."""
    if isinstance(gradient, list | tuple):
        return np.concatenate([_flat(part) for part in gradient])
    return np.ravel(np.asarray(gradient))
