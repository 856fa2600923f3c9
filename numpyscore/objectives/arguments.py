"""What an objective is given, checked beside its network: samples, targets, levels, steps; and numbers that can be drawn again."""

import numpy as np

from ..common.inputs import count, directions, finite, generator, numeric, positive, samples
from ..common.names import kind_of
from ..networks.directions import Probes


def network(where, model, x=None):
    """Refuse what is no network, with the cure: exchanged arguments, a class, a Fit, a density, a bare function."""
    if hasattr(model, "sweep") and not isinstance(model, type):
        return
    cure = "make one by EnergyMLP.init(dim, widths) or ScoreMLP.init(dim, widths)"
    if isinstance(model, type):
        cure = f"make one of it, for example {model.__name__}.init(dim, widths)"
    elif hasattr(x, "sweep"):
        cure = f"the arguments are exchanged: {where}(model, x, ...)"
    elif hasattr(model, "units"):
        cure = f"pass its network and rows in its units, {where}(fit.model, fit.units.to_standard(x), ...)"
    elif hasattr(model, "parameters") and hasattr(model, "state_dict"):
        cure = (
            f"take its weights, EnergyMLP.from_torch(module.state_dict(), ...), or its scores, {array_twin(where)}; and "
            f"check_loss is for losses of a framework of your own"
        )
    elif hasattr(model, "score"):
        cure = f"it has a score: pass that to {array_twin(where)}"
    elif callable(model):
        cure = f"pass what it returns to {array_twin(where)}"
    raise TypeError(f"{where}: model is {kind_of(model)}, expected an EnergyMLP or a ScoreMLP; {cure}.")


def array_twin(where):
    """The loss of the same name that takes scores from anywhere."""
    twins = {"explicit", "implicit", "generalised", "denoising", "sliced"}
    return f"{where}_loss" if where in twins else "the losses for arrays, such as implicit_loss"


def working_dtype(model, x):
    """The dtype of perturbed points: that of parameters and input together, complex only if x is."""
    return np.result_type(x, np.empty(0, model.theta.dtype).real)


def beside(where, name, value, x, model, what):
    """A finite array of the shape of x, real if the network is."""
    a = samples(where, value, model.dim, name=name)
    if a.shape != x.shape:
        raise ValueError(f"{where}: {name} has shape {a.shape}, expected that of x, {x.shape}: {what}.")
    real_as(where, name, a, model)
    return a


def real_as(where, name, a, model):
    """Refuse complex numbers beside a real network."""
    if a.dtype.kind == "c" and model.theta.dtype.kind != "c":
        raise TypeError(f"{where}: {name} is complex, but the network is real; pass {name}.real.")


# ------------------------------------------------------------------------------- levels and steps


def level_weights(where, weight, sigmas):
    """lambda(sigma) of each level (L,)."""
    named = {"sigma2": lambda sigma: sigma**2, "one": np.ones_like}
    if callable(weight):
        rule = weight
    elif isinstance(weight, str) and weight in named:
        rule = named[weight]
    else:
        raise ValueError(f"{where}: weight is {weight!r}, expected 'sigma2', 'one' or a function of the sigmas (L,).")
    w = numeric(where, "weight", rule(sigmas))
    if w.shape not in ((), sigmas.shape) or w.dtype.kind == "c":
        raise ValueError(f"{where}: weight returned {w.dtype} {w.shape}, expected real {sigmas.shape}, one per sigma.")
    finite(where, "weight", w)
    if (w < 0).any():
        raise ValueError(
            f"{where}: weight has the value {w.min()}, expected weights >= 0: below, a loss has no minimum."
        )
    return np.broadcast_to(w, sigmas.shape).astype(sigmas.dtype)


def level_indices(where, level, n, L):
    """Indices of levels (n,) in 0 ... L - 1."""
    a = numeric(where, "level", level)
    if a.dtype.kind not in "iu":
        raise TypeError(f"{where}: level has dtype {a.dtype}, expected integers, the index into sigmas of each sample.")
    if a.shape not in ((), (n,)):
        raise ValueError(f"{where}: level has shape {a.shape}, expected one integer or ({n},), one per sample of x.")
    if a.size and not (a.min() >= 0 and a.max() < L):
        bad = a[(a < 0) | (a >= L)].flat[0]
        raise ValueError(f"{where}: level has the value {bad}, expected 0 to {L - 1}, an index into the {L} sigmas.")
    return np.broadcast_to(a, (n,))


def level_noise(where, noise, shapes, model):
    """Given eps of several levels, of one of these shapes: (n, d) for all of them, or (L, n, d)."""
    noise = numeric(where, "noise", noise)
    if noise.shape not in shapes:
        raise ValueError(
            f"{where}: noise has shape {noise.shape}, expected {' or '.join(map(str, shapes))}, "
            f"{'one eps per sample' if len(shapes) == 1 else 'the same eps at each level or one per level'}."
        )
    finite(where, "noise", noise)
    real_as(where, "noise", noise, model)
    return noise


def difference_step(where, eps, x, dtype):
    """The step of a second difference, refused where nothing but round-off would be left of it."""
    eps, unit = positive(where, "eps", eps), float(np.finfo(dtype).eps)
    size = max(1.0, float(np.sqrt(np.einsum("nd,nd->", x.real, x.real, dtype=np.result_type(x.real, float)) / x.size)))
    floor = unit**0.5 * size
    if eps < floor:
        raise ValueError(
            f"{where}: eps is {eps:.3g}, expected at least {floor:.3g} = sqrt({unit:.3g}) * {size:.3g} in {np.dtype(dtype)} for x of this size. "
            f"The second difference carries a round-off of {unit:.2g}/eps^2 = {unit / eps**2:.2g} times the energy, and nothing "
            f"of it would be left; {unit**0.25 * size:.2g} balances round-off and truncation."
        )
    return eps


# ------------------------------------------------------------------------------- random numbers


def one_source(where, rng, name):
    """Refuse a seed beside the random numbers themselves."""
    if rng is not None:
        raise ValueError(
            f"{where}: rng and {name} are both given, expected one of them: which would be used? Leave out rng."
        )


def seed_from(where, rng):
    """One seed drawn from `rng` when a loss is made, so that the same numbers can be drawn again from it."""
    return int(generator(where, rng).integers(1 << 63))


def probe_directions(where, model, x, probe, n_probes, rng, probes):
    """The directions of a sliced loss: those given, or random ones, the same each time they are asked for."""
    n, d = x.shape
    if probes is None:
        return Probes.drawn(where, probe, n_probes, n, d, rng)
    one_source(where, rng, "probes")
    count(where, "n_probes", n_probes)
    given = directions(where, probes, n, d, "probes")
    real_as(where, "probes", given, model)
    if len(given) == 0 or n_probes not in (1, len(given)):
        raise ValueError(
            f"{where}: probes are {len(given)} per sample and n_probes is {n_probes}, expected as many, at least one; leave "
            f"n_probes out, or give rng instead of probes."
        )
    return Probes.given(given)
