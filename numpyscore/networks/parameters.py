r"""The parameters of a network: layers made, checked, laid out in one flat vector and read from it again."""

import itertools
from typing import Any, NamedTuple

import numpy as np

from ..common.inputs import count, finite, generator, numeric
from ..common.names import missing
from .activations import ACTIVATIONS, activation

FIXED = ("theta", "layers", "activation", "conditional", "confinement", "dim")
# what a network does not answer by itself, under the names that people try
SAMPLES, LOG_P = (
    "draw(network, n, rng=seed)",
    "-energy(x) - log_normaliser(network)[0]; of a conditional network log_likelihood(...)",
)
ELSEWHERE = {
    **dict.fromkeys(("sample", "rvs"), SAMPLES),
    **dict.fromkeys(("logpdf", "log_prob", "score_samples", "pdf"), LOG_P),
    **dict.fromkeys(("parameters", "params", "weights", "get_params"), ".theta, one vector, or .layers"),
    **dict.fromkeys(("forward", "predict", "apply"), ".energy(x), .score(x), .trace(x), or all of them by .evaluate(x, ...)"),
    **dict.fromkeys(("grad", "gradient", "backward"), "implicit(network, x).gradient and the like; of any function .evaluate(x).pullback(...)"),
    **dict.fromkeys(("fit", "train"), "fit(data, model=network)"),
    "load_state_dict": "EnergyMLP.from_torch(state_dict, activation)",
    "laplacian": ".trace(x), which of an energy network is minus the Laplacian of the energy",
    "hessian": ".jacobian(x) of the score: minus the Hessian of the energy",
    "divergence": ".trace(x)",
}  # fmt: skip


class Network(NamedTuple):
    """Weights W[1..L+1] (in, out), biases b[1..L+1], W^T as products take it best, the number L of hidden layers, the activation."""

    W: dict
    b: dict
    WT: dict
    L: int
    phi: Any


class Layers:
    """Weights and biases of a multilayer perceptron with its activation; immutable, see `with_theta`."""

    kind = "Layers"

    def __init__(self, layers, activation_name, *, conditional=False, confinement=0.0):
        where = type(self).__name__
        self.activation = activation(where, activation_name)
        self.conditional = bool(conditional)
        try:
            self.confinement = float(confinement)
        except (TypeError, ValueError):
            raise TypeError(f"{where}: confinement is {confinement!r}, expected a finite number >= 0.") from None
        if not (np.isfinite(self.confinement) and self.confinement >= 0):
            raise ValueError(
                f"{where}: confinement is {confinement}, expected a finite number >= 0; below 0, exp(-f) has no integral."
            )
        pairs = self._checked(where, layers)
        self._shapes = tuple((W.shape, b.shape) for W, b in pairs)
        self.theta = np.concatenate([a.ravel() for pair in pairs for a in pair])
        self.theta.flags.writeable = False
        self.layers = self.unflatten(self.theta)  # ((W1, b1), ..., (W_out, b_out)), read-only views into theta
        self.dim = pairs[0][0].shape[0] - self.conditional

    def _checked(self, where, layers):
        """The layers as arrays of one dtype whose shapes fit each other."""
        try:
            layers = [(W, b) for W, b in layers]
        except (TypeError, ValueError):
            raise TypeError(
                f"{where}: layers is not a sequence of pairs, expected [(W1, b1), (W2, b2), ...]."
            ) from None
        # arrays of numbers, at least one hidden layer
        pairs = [(numeric(where, f"W{l}", W), numeric(where, f"b{l}", b)) for l, (W, b) in enumerate(layers, 1)]
        if len(pairs) < 2:
            raise ValueError(
                f"{where}: {len(pairs)} layers came, expected at least 2: one hidden layer and the output."
            )
        # W_l (in, out), b_l (out,), each as wide as the one before it
        for l, (W, b) in enumerate(pairs, 1):
            if W.ndim != 2 or b.shape != W.shape[1:]:
                raise ValueError(
                    f"{where}: layer {l} has W of shape {W.shape} and b of shape {b.shape}, expected (in, out) and (out,). "
                    f"Torch and others store (out, in): use from_torch, or pass W.T."
                )
            if l > 1 and W.shape[0] != pairs[l - 2][0].shape[1]:
                raise ValueError(
                    f"{where}: W{l} has shape {W.shape}, expected {pairs[l - 2][0].shape[1]} rows, the width of layer "
                    f"{l - 1}. W is (in, out): use from_torch, or pass W.T, if yours is (out, in)."
                )
            if 0 in W.shape:
                raise ValueError(f"{where}: W{l} has shape {W.shape}; every layer needs at least one unit.")
            finite(where, f"W{l}", W)
            finite(where, f"b{l}", b)
        self._check_ends(where, pairs[0][0].shape[0] - self.conditional, pairs[-1][0].shape[1])
        common = np.result_type(*(a for pair in pairs for a in pair))
        dtype = common if common.kind in "fc" else np.dtype(float)
        self._allowed(where, dtype)
        return [(W.astype(dtype), b.astype(dtype)) for W, b in pairs]

    def _check_ends(self, where, dim, outputs):
        raise TypeError(f"{where} is the common part of EnergyMLP and ScoreMLP; use one of these.")

    def _allowed(self, where, dtype):
        """Refuse dtypes whose result would be wrong or of less accuracy than it looks."""
        if dtype in (np.float32, np.float64):
            return
        if dtype == np.float16:
            raise TypeError(f"{where}: dtype float16 is not supported (3 digits); convert to float32 or float64.")
        if not self.activation.analytic:
            fine = ", ".join(name for name, phi in ACTIVATIONS.items() if phi.analytic)
            raise TypeError(
                f"{where}: dtype {dtype} with activation {self.activation.name!r} is refused: its accurate form exists for "
                f"real float32 and float64 only. Complex and longdouble work with {fine}."
            )

    # ---- making one

    @classmethod
    def init(cls, dim, widths, activation="softplus", *, conditional=False, rng=None, dtype=float, **options):
        """A random network: W ~ N(0, 1/fan_in), b uniform in +-1/sqrt(fan_in).

        Parameters
        ----------
        dim : int
            Dimension d of x.
        widths : sequence of int
            Units of each hidden layer, at least one layer.
        activation : str or Activation
            See `numpyscore.networks.activations`.
        confinement : float, `EnergyMLP` only
            lambda of the term lambda |x|^2 / 2. Without it a bounded activation has Z = infinity.
        conditional : bool
            Take a noise level: an input log sigma is added, and every call needs sigma=.
        rng : seed or numpy.random.Generator
        dtype : float32 or float64 (others as oracles, see DESIGN)
        """
        where = f"{cls.__name__}.init"
        count(where, "dim", dim)
        try:
            widths = [count(where, "widths", int(k) if isinstance(k, np.integer) else k) for k in widths]
        except TypeError as error:
            if "not iterable" in str(error):
                raise TypeError(f"{where}: widths is {widths!r}, expected a sequence such as (64, 64).") from None
            raise
        if not widths:
            raise ValueError(f"{where}: widths is empty, expected at least one hidden layer, for example (64, 64).")
        if np.dtype(dtype).kind not in "fc":
            raise TypeError(
                f"{where}: dtype is {np.dtype(dtype)}, expected float32 or float64; others would lose the weights."
            )
        rng = generator(where, rng)
        sizes = [dim + bool(conditional), *widths, 1 if cls.kind == "EnergyMLP" else dim]
        layers = [
            (
                (rng.standard_normal((k, m)) / np.sqrt(k)).astype(dtype),
                (rng.uniform(-1, 1, m) / np.sqrt(k)).astype(dtype),
            )
            for k, m in itertools.pairwise(sizes)
        ]
        return cls(layers, activation, conditional=conditional, **options)

    @classmethod
    def from_arrays(cls, layers, activation="softplus", **options):
        """The network with these [(W1, b1), ..., (W_out, b_out)]; W is (in, out), z = a @ W + b. Arrays are copied."""
        return cls(layers, activation, **options)

    @classmethod
    def from_torch(cls, mapping, activation="softplus", **options):
        """The network of a torch state dict (or any mapping of names to arrays): weights are (out, in) there.

        Names are taken in their order: every "...weight" (2-d) is a layer, the "...bias" of the same prefix its b
        (zero if it is missing). Nothing is imported: whatever has .detach() or converts by np.asarray will do.
        """
        where = f"{cls.__name__}.from_torch"
        if not hasattr(mapping, "items"):
            raise TypeError(
                f"{where}: mapping is a {type(mapping).__name__}, expected names and arrays, for example module.state_dict()."
            )
        arrays = {}
        for name, value in mapping.items():
            value = value.detach().cpu().numpy() if hasattr(value, "detach") else value
            arrays[name] = np.array(numeric(where, name, value))
        weights = {name[: -len("weight")]: a for name, a in arrays.items() if name.endswith("weight")}
        extra = set(arrays) - {prefix + end for prefix in weights for end in ("weight", "bias")}
        if not weights or extra or any(a.ndim != 2 for a in weights.values()):
            raise ValueError(
                f"{where}: the names are {list(arrays)}, expected '<layer>.weight' (2-d) and '<layer>.bias' of plain "
                f"linear layers, and nothing else; pass only those, or use from_arrays."
            )
        layers = [(W.T, arrays.get(prefix + "bias", np.zeros(len(W), W.dtype))) for prefix, W in weights.items()]
        return cls(layers, activation, **options)

    # ---- parameters

    def __setattr__(self, name, value):
        """Parameters are immutable: what was computed with them would no longer be theirs."""
        if name in FIXED and name in self.__dict__:
            raise AttributeError(
                f"{type(self).__name__}.{name} is immutable; make another network: with_theta(theta), or from_arrays(layers, ...)."
            )
        super().__setattr__(name, value)

    def __getattr__(self, name):
        raise missing(self, name, ELSEWHERE)

    def unflatten(self, theta):
        """((W1, b1), ...) as views of a flat vector (p,) in the order W1, b1, W2, b2, ..., each row-major."""
        theta = np.asarray(theta)
        if theta.shape != self.theta.shape:
            raise ValueError(
                f"unflatten: theta has shape {theta.shape}, expected {self.theta.shape}, all parameters in one vector."
            )
        parts, start = [], 0
        for shape in (shape for pair in self._shapes for shape in pair):
            stop = start + int(np.prod(shape))
            parts.append(theta[start:stop].reshape(shape))
            start = stop
        return tuple(zip(parts[::2], parts[1::2], strict=True))

    def with_theta(self, theta):
        """The same network with other parameters, a flat vector (p,); its dtype is kept, so complex steps pass."""
        return type(self)(self.unflatten(numeric("with_theta", "theta", theta)), self.activation, **self._options())

    def _options(self):
        return {"conditional": self.conditional}

    def __repr__(self):
        widths = ", ".join(str(b[0]) for _, b in self._shapes[:-1])
        options = ", ".join(f"{k}={v}" for k, v in self._options().items() if v)
        return (
            f"{type(self).__name__}(dim={self.dim}, widths=({widths}), {self.activation.name}"
            f"{', ' + options if options else ''}, {self.theta.dtype}, {self.theta.size} parameters)"
        )
