"""The NumPy lines that compute both sides of a step, to be run as they stand: they share none of the code that the verdict came from.

Each belongs to one case of its step, whose name the verdict carries as its subject, and prints left and right of it. A step that looks at 8 or
16 places prints them all; the verdict is the worst of them. SEED stands for the seed of the run.
"""

from typing import NamedTuple

NETWORK = """\
import numpy as np
import numpyscore as ns

data = ns.Gaussian(0.3, 1.0)
net = ns.EnergyMLP.init(1, (6, 6), "softplus", confinement=0.5, rng=SEED)
"""
GRID = """\
x, dx = np.linspace(-15, 15, 6001, retstep=True)
p = np.exp(-0.5 * (x - 0.3) ** 2) / np.sqrt(2 * np.pi)  # the data
mean = lambda g: np.sum(p * g) * dx
"""
MODES = """\
import numpy as np

x, dx = np.linspace(-20, 20, 8001, retstep=True)
m = MEAN
bump = lambda c: np.exp(-0.5 * (x - c) ** 2) / np.sqrt(2 * np.pi)
two_modes = lambda w: w * bump(-m) + (1 - w) * bump(m)
"""
WAITING = """\
import numpy as np
import numpyscore as ns

x = ns.old_faithful()
x = (x - x.mean(0)) / x.std(0)
"""
HALF_LINE = """\
import numpy as np

t, w = np.polynomial.laguerre.laggauss(60)
a, b = 2.0, 3.0  # rates of the data and of the model
x = t / a
mean = lambda g: w @ (g * np.ones_like(x))  # under a exp(-a x)
s_0, s, slope = -a, -b, 0.0
"""


class Snippet(NamedTuple):
    """subject : the case it computes. code : what computes it, and prints left and right."""

    subject: str
    code: str


CLOSED = "gaussian in 1-d, random energy network"

SNIPPETS = {
    "exp(-f)/Z integrates to one": Snippet(
        CLOSED,
        NETWORK
        + """\
x, dx = np.linspace(-15, 15, 6001, retstep=True)
Z = np.sum(np.exp(-net.energy(x[:, None]))) * dx

t, w = np.polynomial.legendre.leggauss(300)  # and on other nodes
left = 15 * w @ (np.exp(-net.energy(15 * t[:, None])) / Z)
print(left, 1.0)
""",
    ),
    "a bounded energy has no normaliser": Snippet(
        "tanh network, no confinement",
        """\
import numpy as np
import numpyscore as ns

net = ns.EnergyMLP.init(1, (6,), "tanh", rng=SEED)
R = 40 / np.abs(net.layers[0][0]).min()  # tanh(40) is 1 to the last bit
x = np.linspace(R, 2 * R, 1001)
p = np.exp(-net.energy(x[:, None])) + np.exp(-net.energy(-x[:, None]))
print(np.trapezoid(p, x) / R, 0.0)  # growth of the integral per unit of R
""",
    ),
    "normaliser drops out": Snippet(
        CLOSED,
        NETWORK
        + """\
x, dx = np.linspace(-15, 15, 6001, retstep=True)
log_Z = np.log(np.sum(np.exp(-net.energy(x[:, None]))) * dx)
log_p = lambda x: -net.energy(x) - log_Z

a, b = data.sample(16, rng=SEED).reshape(2, 8, 1)
t, w = np.polynomial.legendre.leggauss(60)  # from a to b, along the line between them
score = lambda u: net.score(a + u * (b - a))
work = sum(0.5 * c * np.sum(score((1 + u) / 2) * (b - a), axis=1) for u, c in zip(t, w))
for pair in zip(log_p(b) - log_p(a), work):
    print(*pair)
""",
    ),
    "almost equal scores, other densities": Snippet(
        "m = 7.071",
        MODES.replace("MEAN", "5 * np.sqrt(2)")
        + """\
p, q = two_modes(0.2), two_modes(0.5)
kl = np.sum(p * np.log(p / q)) * dx
print(kl, 0.0)

grad_log = lambda w: ((-m - x) * w * bump(-m) + (m - x) * (1 - w) * bump(m)) / two_modes(w)
J_E = 0.5 * np.sum(p * (grad_log(0.2) - grad_log(0.5)) ** 2) * dx  # 1e-11
""",
    ),
    "cross term by parts": Snippet(
        CLOSED,
        NETWORK
        + GRID
        + """\
s_0, s, slope = -(x - 0.3), net.score(x[:, None])[:, 0], net.trace(x[:, None])
rim = (p * s)[-1] - (p * s)[0]  # the boundary term
print(mean(s_0 * s), rim - mean(slope))
""",
    ),
    "explicit minus implicit is a constant": Snippet(
        CLOSED,
        NETWORK
        + GRID
        + """\
s_0, s, slope = -(x - 0.3), net.score(x[:, None])[:, 0], net.trace(x[:, None])
J_E = mean(0.5 * (s - s_0) ** 2)
J_I = mean(0.5 * s**2 + slope)
print(J_E - J_I, mean(0.5 * s_0**2))
""",
    ),
    "exponential data": Snippet(
        "a = 2, b = 3: constant",
        HALF_LINE
        + """\
J_E = mean(0.5 * (s - s_0) ** 2)
J_I = mean(0.5 * s**2 + slope)
print(J_E - J_I, mean(0.5 * s_0**2))  # they differ by -ab
""",
    ),
    "together they settle": Snippet(
        "t = 1",
        WAITING
        + """\
m = np.mean((x[:, 1] + 0.3) ** 2)  # waiting times, off their mean on purpose

theta, dt = 0.5, 1e-3
for _ in range(1000):  # descent, by Runge and Kutta's fourth-order rule
    k_1 = 1 - m * theta
    k_2 = 1 - m * (theta + dt / 2 * k_1)
    k_3 = 1 - m * (theta + dt / 2 * k_2)
    k_4 = 1 - m * (theta + dt * k_3)
    theta += dt / 6 * (k_1 + 2 * k_2 + 2 * k_3 + k_4)
print(theta, 1 / m + (0.5 - 1 / m) * np.exp(-m))
""",
    ),
    "the trace is not driven to zero": Snippet(
        "two modes",
        MODES.replace("MEAN", "2.0")
        + """\
p = two_modes(0.3)
s = ((-m - x) * 0.3 * bump(-m) + (m - x) * 0.7 * bump(m)) / p
r = 0.3 * bump(-m) / p  # how much a point belongs to the first mode
trace = -1 + 4 * m**2 * r * (1 - r)
print(np.sum(p * trace) * dx, 0.0)  # it is minus the mean square of the score
""",
    ),
    "curvature identity": Snippet(
        CLOSED,
        NETWORK
        + """\
(W_1, b_1), (W_2, b_2), (w, c) = net.layers
sigmoid = lambda z: 1 / (1 + np.exp(-z))  # softplus'
bend = lambda z: sigmoid(z) * (1 - sigmoid(z))  # softplus''


def score(x):
    z_1 = x @ W_1 + b_1
    z_2 = np.log1p(np.exp(z_1)) @ W_2 + b_2
    g_2 = w[:, 0] * np.ones_like(z_2)  # adjoints of the energy
    g_1 = (g_2 * sigmoid(z_2)) @ W_2.T
    return -(g_1 * sigmoid(z_1)) @ W_1.T - 0.5 * x, z_1, z_2, g_1, g_2


x, v = data.sample(16, rng=np.random.default_rng([SEED, 5])), np.array([0.25])
s, z_1, z_2, g_1, g_2 = score(x)
T_1 = v @ W_1  # tangents
T_2 = (T_1 * sigmoid(z_1)) @ W_2
left = -np.sum(g_1 * bend(z_1) * T_1**2, 1) - np.sum(g_2 * bend(z_2) * T_2**2, 1) - 0.5 * v @ v
right = score(x + 1e-30j * v)[0].imag @ v / 1e-30  # a complex step
for pair in zip(left, right):
    print(*pair)
""",
    ),
    "probes of another size": Snippet(
        "unit length, d = 4",
        """\
import numpy as np
import numpyscore as ns

net = ns.EnergyMLP.init(4, (8, 8), "softplus", confinement=0.3, rng=SEED)
x = np.random.default_rng(SEED).standard_normal((1, 4))
s, J = net.score(x)[0], net.jacobian(x)[0]

signs = np.array([[*np.binary_repr(k, 4)] for k in range(16)], int) * 2 - 1.0
v = signs / 2  # |v| = 1: E[v v^T] = I / 4
left = np.mean(np.einsum("mi,ij,mj->m", v, J, v) + 0.5 * (v @ s) ** 2)
print(left, np.trace(J) + 0.5 * s @ s)
""",
    ),
    "three weights on a half-line": Snippet(
        "h = x",
        """\
import numpy as np
import numpyscore as ns

t, w = np.polynomial.legendre.leggauss(400)
x, w = 12 * (1 + t), 12 * w
p, s_0 = 2 * np.exp(-2 * x), -2.0  # the data
mean = lambda g: w @ (p * g)

net = ns.EnergyMLP.init(1, (6,), "softplus", confinement=0.5, rng=SEED)
s, slope = net.score(x[:, None])[:, 0], net.trace(x[:, None])
h, h_prime = x, 1.0
left = mean(0.5 * h * (s - s_0) ** 2)
print(left, mean(0.5 * h * s**2 + h_prime * s + h * slope) + mean(0.5 * h * s_0**2))
""",
    ),
    "no weight on a half-line": Snippet(
        "a = 2, b = 3",
        HALF_LINE
        + """\
left = mean(0.5 * (s - s_0) ** 2)
print(left, mean(0.5 * s**2 + slope) + mean(0.5 * s_0**2))  # they differ by -ab
""",
    ),
    "denoising is explicit on the noisy density": Snippet(
        CLOSED,
        NETWORK
        + """\
sigma = 0.5
t, w = np.polynomial.hermite_e.hermegauss(100)
w = w / w.sum()  # means over N(0, 1)

x, eps = np.meshgrid(0.3 + t, t, indexing="ij")
s = net.score((x + sigma * eps).reshape(-1, 1)).reshape(100, 100)
left = w @ (0.5 * (s + eps / sigma) ** 2) @ w

var = 1 + sigma**2  # the noisy density is N(0.3, var)
x_noisy = 0.3 + np.sqrt(var) * t
s, s_q = net.score(x_noisy[:, None])[:, 0], -(x_noisy - 0.3) / var
print(left, w @ (0.5 * (s - s_q) ** 2) + 0.5 * (1 / sigma**2 - w @ s_q**2))
""",
    ),
    "the target with the wrong sign": Snippet(
        "Old Faithful, sigma = 0.5",
        WAITING
        + """\
sigma = 0.5
signs = np.array([[a, b] for a in (-1, 1) for b in (-1, 1)])
noisy = (x[:, None] + sigma * signs).reshape(-1, 2)  # each row with each sign of the noise
wrong = np.tile(signs / sigma, (len(x), 1))  # the target is -eps/sigma

# s = -lambda noisy, least squares: lambda = -E[noisy . target] / E|noisy|^2
left = -np.sum(noisy * wrong) / np.sum(noisy**2)
print(left, 1 / (1 + sigma**2))
""",
    ),
    "Langevin in steps": Snippet(
        "step 0.5, recursion",
        """\
step, v = 0.5, 0.25
for _ in range(300):
    v = (1 - step) ** 2 * v + 2 * step  # x <- x - step x + sqrt(2 step) eps
print(v, 1 / (1 - step / 2))
""",
    ),
    "Langevin in steps taken for exact": Snippet(
        "step 0.5, recursion",
        """\
step, v = 0.5, 0.25
for _ in range(300):
    v = (1 - step) ** 2 * v + 2 * step
print(v, 1.0)  # too wide by step / (2 - step)
""",
    ),
}

ANY = """\
import numpyscore as ns

for v in ns.verify(only="{name}", seed={seed}):
    print(v.left, v.right, v.subject)
"""


def snippet(step, seed=0):
    """The lines of a step: NumPy's where they are written down, else the call that computes it. Returns (subject or None, code)."""
    if (found := SNIPPETS.get(step)) is not None:
        return found.subject, found.code.replace("SEED", str(seed))
    return None, ANY.format(name=step, seed=seed)
