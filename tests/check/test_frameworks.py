"""The same checks on torch and jax code, where these are installed: right code passes, wrong code is named, gradients are watched."""

import numpy as np
import pytest

from numpyscore import check_loss, check_score, check_trace

# ------------------------------------------------------------------------------- torch


def torch_losses():
    torch = pytest.importorskip("torch")

    def score(fn, x, create_graph=True):
        return -torch.autograd.grad(fn(x).sum(), x, create_graph=create_graph)[0]

    def trace(s, x, **options):
        return sum(torch.autograd.grad(s[:, i].sum(), x, **options)[0][:, i] for i in range(x.shape[1]))

    def implicit(fn, x, c=1.0, detach=False, square_detached=False):
        x = x.requires_grad_()
        s = score(fn, x)
        t = trace(s, x, **({"retain_graph": True} if detach else {"create_graph": True}))
        q = (s.detach() * s).sum(1) if square_detached else (s**2).sum(1)
        return (0.5 * q + c * t).mean()

    def summed(fn, x):
        s = score(fn, x)
        return (0.5 * (s**2).sum(1) + torch.autograd.grad(s.sum(), x, create_graph=True)[0].sum(1)).mean()

    def denoising(fn, x, sigma, sign=1.0, power=1, clean=False):
        eps = torch.randn_like(x)
        at = (x if clean else x + sigma * eps).requires_grad_()
        return 0.5 * ((score(fn, at) + sign * eps / sigma**power) ** 2).sum(1).mean()

    def network(fn, x, sigma, sign=1.0):
        eps = torch.randn_like(x)
        return 0.5 * ((fn(x + sigma * eps) + sign * eps / sigma) ** 2).sum(1).mean()

    def functional(fn, x, c=1.0):
        s = lambda y: torch.func.grad(lambda z: -fn(z))(y)
        J = torch.func.vmap(torch.func.jacfwd(s))(x)
        return (0.5 * (torch.func.vmap(s)(x) ** 2).sum(-1) + c * J.diagonal(dim1=1, dim2=2).sum(-1)).mean()

    def sliced(fn, x, shared=False, unit=False, reduced=False):
        x = x.requires_grad_()
        s = score(fn, x)
        v = torch.randn(x.shape[1], dtype=x.dtype).expand_as(x) if shared else torch.randn_like(x)
        v = v / v.norm(dim=1, keepdim=True) if unit else v
        curve = (torch.autograd.grad((s * v).sum(), x, create_graph=True)[0] * v).sum(1)
        return (curve + 0.5 * ((s**2).sum(1) if reduced else (s * v).sum(1) ** 2)).mean()

    def ddpm(fn, x, alphas_cumprod, target=lambda eps, std: eps, keep=lambda f: f):
        t, eps = torch.randint(0, len(alphas_cumprod), (len(x),)), torch.randn_like(x)
        a = alphas_cumprod[t][:, None]
        f, aim = fn(a.sqrt() * x + (1 - a).sqrt() * eps, t), target(eps, (1 - a).sqrt())
        return (f * keep(f) - 2 * f * aim + aim**2).mean()

    def preserving(fn, x, alpha_bar, power=1):
        a, eps = torch.as_tensor(alpha_bar), torch.randn_like(x)
        at = (a.sqrt() * x + (1 - a).sqrt() * eps).requires_grad_()
        return 0.5 * ((score(fn, at) + eps / (1 - a).sqrt() ** power) ** 2).sum(1).mean()

    def ncsn(fn, x, sigmas, told=lambda k, L: k, ends=0):
        k, L = torch.randint(0, len(sigmas) - ends, (len(x),)), len(sigmas)
        sigma, eps = sigmas[k][:, None], torch.randn_like(x)
        return 0.5 * ((sigma * fn(x + sigma * eps, told(k, L)) + eps) ** 2).sum(1).mean()

    def item(fn, x):
        return implicit(fn, x).detach()

    return {
        "implicit": (implicit, "implicit", None),
        "functional": (functional, "implicit", None),
        "denoising": (denoising, "denoising", None),
        "network": (network, "denoising", None),
        "sliced": (sliced, "sliced", None),
        "reduced": (lambda fn, x: sliced(fn, x, reduced=True), "sliced", None),
        "trace halved": (lambda fn, x: implicit(fn, x, 0.5), "implicit", "trace halved"),
        "trace detached": (
            lambda fn, x: implicit(fn, x, detach=True),
            "implicit",
            "no gradient flows through the trace",
        ),
        "half detached": (lambda fn, x: implicit(fn, x, square_detached=True), "implicit", "0.5 times the square"),
        "all detached": (item, "implicit", "no gradient reaches the parameters"),
        "summed": (summed, "implicit", "sum of all entries"),
        "functional sign": (lambda fn, x: functional(fn, x, -1.0), "implicit", "sign of the trace"),
        "sign": (lambda fn, x, sigma: denoising(fn, x, sigma, -1.0), "denoising", "sign of the target"),
        "power": (lambda fn, x, sigma: denoising(fn, x, sigma, power=2), "denoising", "-eps/sigma^2 instead"),
        "clean": (lambda fn, x, sigma: denoising(fn, x, sigma, clean=True), "denoising", "clean point"),
        "network sign": (lambda fn, x, sigma: network(fn, x, sigma, -1.0), "denoising", "sign of the target"),
        "shared": (lambda fn, x: sliced(fn, x, shared=True), "sliced", "shared probe"),
        "ddpm": (ddpm, "multilevel_denoising", None),
        "ddpm sign": (
            lambda fn, x, alphas_cumprod: ddpm(fn, x, alphas_cumprod, lambda e, std: e / std),
            "multilevel_denoising",
            "sign of the target",
        ),
        "ddpm detached": (
            lambda fn, x, alphas_cumprod: ddpm(fn, x, alphas_cumprod, keep=lambda f: f.detach()),
            "multilevel_denoising",
            "0.5 times the square",
        ),
        "preserving": (preserving, "denoising", None),
        "preserving power": (
            lambda fn, x, alpha_bar: preserving(fn, x, alpha_bar, 2),
            "denoising",
            "-eps/sigma^2 instead",
        ),
        "ncsn": (ncsn, "multilevel_denoising", None),
        "ncsn told": (
            lambda fn, x, sigmas: ncsn(fn, x, sigmas, lambda k, L: (k + 1) % L),
            "multilevel_denoising",
            "level told",
        ),
        "ncsn last": (
            lambda fn, x, sigmas: ncsn(fn, x, sigmas, ends=1),
            "multilevel_denoising",
            "level forgotten: the last",
        ),
        "unit": (lambda fn, x: sliced(fn, x, unit=True, reduced=True), "sliced", "unit length"),
    }


TORCH = (
    "implicit", "functional", "denoising", "network", "sliced", "reduced", "trace halved", "trace detached", "half detached",
    "all detached", "summed", "functional sign", "sign", "power", "clean", "network sign", "shared", "unit",
    "ddpm", "ddpm sign", "ddpm detached", "preserving", "preserving power", "ncsn", "ncsn told", "ncsn last",
)  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TORCH)
def test_torch_losses(name):
    loss, objective, words = torch_losses()[name]
    with np.errstate(all="ignore"):
        report = check_loss(loss, objective=objective, wrap="torch")
    if words is None:
        assert report, report
    else:
        assert report.verdict == "FAIL" and words in report.diagnosis, report


@pytest.mark.filterwarnings("ignore")
def test_torch_modules_and_their_outputs_as_they_are():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    energy = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.Softplus(), torch.nn.Linear(16, 1)).double()
    score = lambda x: -torch.autograd.grad(energy(x).sum(), x, create_graph=True)[0]
    x = np.random.default_rng(0).standard_normal((6, 3))
    assert check_score(score, energy=energy, x=x, wrap="torch")
    assert check_score(score, energy=energy, x=torch.tensor(x))
    wrong = check_score(lambda x: -score(x), energy=energy, x=x, wrap="torch")
    assert wrong.verdict == "FAIL" and wrong.name == "sign"
    single = check_score(score, energy=energy.float(), x=x, wrap="torch")  # refuses float64: asked again in float32
    assert single.verdict != "FAIL" and "float32" in single.summary
    relu = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1)).double()
    of_relu = lambda x: -torch.autograd.grad(relu(x).sum(), x)[0]
    kink = check_trace(lambda x: 0 * x.sum(1), score=of_relu, x=x, wrap="torch")
    assert kink.verdict == "FAIL" and kink.name == "kink"


# ------------------------------------------------------------------------------- jax


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name, words",
    [
        ("right", None),
        ("half", "trace halved"),
        ("stop", "no gradient flows through the trace"),
        ("dsm", None),
        ("ddpm", None),
        ("ddpm sign", "-eps instead"),
        ("sign", "sign of the target"),
    ],
)
def test_jax_losses(name, words):
    jax = pytest.importorskip("jax")
    jnp = jax.numpy
    score = lambda fn: jax.vmap(jax.grad(lambda y: -fn(y)))

    def implicit(fn, x, c=1.0, keep=lambda t: t):
        J = jax.vmap(jax.hessian(lambda y: -fn(y)))(x)
        return jnp.mean(0.5 * (score(fn)(x) ** 2).sum(-1) + c * keep(jnp.trace(J, axis1=1, axis2=2)))

    def denoising(fn, x, sigma, key, sign=1.0):
        eps = jax.random.normal(key, x.shape)
        return 0.5 * jnp.mean(jnp.sum((score(fn)(x + sigma * eps) + sign * eps / sigma) ** 2, -1))

    def ddpm(fn, x, alpha_bar, key, sign=1.0):
        eps = jax.random.normal(key, x.shape)
        return jnp.mean((fn(jnp.sqrt(alpha_bar) * x + jnp.sqrt(1 - alpha_bar) * eps) - sign * eps) ** 2)

    losses = {
        "right": (implicit, "implicit"),
        "half": (lambda fn, x: implicit(fn, x, 0.5), "implicit"),
        "stop": (lambda fn, x: implicit(fn, x, keep=jax.lax.stop_gradient), "implicit"),
        "dsm": (denoising, "denoising"),
        "ddpm": (ddpm, "denoising"),
        "ddpm sign": (lambda fn, x, alpha_bar, key: ddpm(fn, x, alpha_bar, key, -1.0), "denoising"),
        "sign": (lambda fn, x, sigma, key: denoising(fn, x, sigma, key, -1.0), "denoising"),
    }
    with np.errstate(all="ignore"):
        report = check_loss(losses[name][0], objective=losses[name][1], wrap="jax")
    if words is None:
        assert report, report
    else:
        assert report.verdict == "FAIL" and words in report.diagnosis, report


@pytest.mark.filterwarnings("ignore")
def test_jax_scores_as_they_are_and_their_dtype_is_said():
    jax = pytest.importorskip("jax")
    W = np.random.default_rng(0).standard_normal((3, 5))
    energy = lambda x: jax.numpy.log(jax.numpy.cosh(x @ W)).sum(-1)
    x = np.random.default_rng(1).standard_normal((6, 3))
    report = check_score(jax.jit(jax.vmap(jax.grad(lambda y: -energy(y)))), energy=energy, x=x, wrap="jax")
    assert report.verdict != "FAIL" and (jax.config.jax_enable_x64 or any("x64" in note for note in report.notes))
    assert check_score(jax.vmap(jax.grad(energy)), energy=energy, x=x, wrap="jax").name == "sign"
