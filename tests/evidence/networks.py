"""Accuracy of networks and objectives against 50 digits: both kinds, conditional or not, confined or not, every activation, L = 1 to 4, both dtypes.

A third of the networks are extreme: weights a thousand times larger or smaller, points 10^4 away, noise levels of 1e-3 and 1e3.
"""

import sys
import time
from collections import defaultdict

import digits as dg
import numpy as np

import numpyscore as ns
from numpyscore.vectors.decimals import context

NUMBER = 1000
NOTE = (
    "S does not see the terms of z cancel: a unit whose z is a small part of its terms, mostly of erf and gelu, reads up to some hundreds of S, and below 1 of S2, "
    "which counts that. Gradients of the exact losses at weights x 1e-3 read up to 5 of S2 at single entries of two networks: their terms pass through up to a dozen "
    "products, of which S2 counts one rounding. Entries whose scale is beyond a sixteenth of the largest number of their dtype, or below the smallest normal one over eps, are left out and counted."
)
ACTIVATIONS = tuple(dg.JETS)
EXTREMES = ("weights x 1e3", "weights x 1e-3", "points x 1e4", "noise 1e-3", "noise 1e3")
TARGETS = {"energy": 4}  # in eps S on ordinary networks
TARGET, TARGET2 = 32, 4  # of all else, and in eps S2 on all networks


def draw(k, seed):
    """The k-th network: (regime, model, what objectives are given as floats of its dtype)."""
    rng = np.random.default_rng([seed, k])
    cls, name, L = (ns.EnergyMLP, ns.ScoreMLP)[k % 2], ACTIVATIONS[k // 2 % 7], 1 + k // 14 % 4
    dtype = (np.float64, np.float32)[k // 56 % 2]
    d, widths, n = int(rng.integers(1, 9)), rng.integers(1, 9, L), 2
    regime = "ordinary" if k % 3 else EXTREMES[k // 3 % len(EXTREMES)]
    conditional = bool(rng.integers(2)) or regime.startswith("noise")
    confined = {"confinement": float(rng.choice([0, rng.uniform(0, 2)]))} if cls is ns.EnergyMLP else {}
    model = cls.init(d, widths, name, conditional=conditional, rng=rng, dtype=dtype, **confined)
    gain = rng.uniform(0.3, 2.5) * {"weights x 1e3": 1e3, "weights x 1e-3": 1e-3}.get(regime, 1)
    far = rng.uniform(0.2, 3) * {"points x 1e4": 1e4}.get(regime, 1)
    noise = {"noise 1e-3": 1e-3, "noise 1e3": 1e3}.get(regime, 1)
    model = model.with_theta((model.theta * gain).astype(dtype))
    normal = lambda *shape: rng.standard_normal(shape).astype(dtype)
    level = lambda *shape: (noise * np.exp(rng.uniform(-1, 1, shape))).astype(dtype)
    given = {
        "x": (far * rng.standard_normal((n, d))).astype(dtype),
        "sigma": level(n) if conditional else None,
        "v": normal(2, n, d),
        "noise": normal(3, n, d),
        "level": level(),
        "levels": level(2),
        "target": normal(n, d),
        "h": rng.uniform(0.1, 2, (n, d)).astype(dtype),
        "h1": normal(n, d),
        "e": None,
        "lam": dtype(0.5),
    }
    # where points are far a larger step: the package refuses one that is lost beside x
    given["e"] = dtype(max(2.0**-4, 2.0 ** np.ceil(np.log2(np.abs(given["x"]).max() / 1024))))
    return regime, model, given


def answers(model, given):
    """What the package says: {quantity: array}."""
    g = given
    told = {"sigma": g["sigma"]} if model.conditional else {}
    x, v = g["x"], g["v"]
    out = {"energy": model.energy(x, **told)} if model.kind == "EnergyMLP" else {}
    out |= {"score": model.score(x, **told), "jacobian": model.jacobian(x, **told), "trace": model.trace(x, **told)}
    out["curvature"] = model.curvature(x, v[0], **told)
    losses = {
        "explicit": ns.explicit(model, x, g["target"], **told),
        "implicit": ns.implicit(model, x, **told),
        "generalised": ns.generalised(model, x, g["h"], g["h1"], **told),
        "regularised": ns.regularised(model, x, float(g["lam"]), **told),
        "denoising": ns.denoising(model, x, float(g["level"]), noise=g["noise"][0]),
        "multilevel": ns.multilevel_denoising(model, x, g["levels"], noise=g["noise"][1:]),
        "sliced": ns.sliced(model, x, probes=v, **told),
        "projected": ns.sliced(model, x, probes=v, variance_reduced=False, **told),
        "differences": ns.finite_difference_sliced(
            model, x, float(g["e"]), probes=v[0], variance_reduced=False, **told
        ),
        "differences, reduced": ns.finite_difference_sliced(
            model, x, float(g["e"]), probes=v[0], variance_reduced=True, **told
        ),
    }
    return out | {f"gradient of {name}": loss.gradient for name, loss in losses.items()}


def kept(given, convert):
    """What was given as other numbers; noise levels of samples are columns."""
    out = {name: None if a is None else convert(a) for name, a in given.items()}
    for name in ("level", "e", "lam"):
        out[name] = out[name].item()
    if out["sigma"] is not None:
        out["sigma"] = out["sigma"][:, None]
    return out


def truths(model, given):
    """{quantity: (exact, S, S2)}."""
    exact, least = dg.Exact(model), float(np.finfo(model.theta.dtype).tiny)
    g = kept(given, dg.decimals)
    for name in ("sigma", "levels"):
        if g[name] is not None:
            g[name] = np.vectorize(dg.Level, otypes=[object])(g[name])
    g["level"] = dg.Level(g["level"])
    x, v, n = g["x"], g["v"], len(g["x"])
    point = exact.at(x, v[:1], g["sigma"])
    J = exact.jacobian(x, g["sigma"])
    values = {"energy": point.f[:, 0]} if exact.energies else {}
    values |= {"score": point.s, "jacobian": J, "trace": J.trace(axis1=1, axis2=2), "curvature": point.c[0, :, 0]}
    sizes = [defaultdict(list), defaultdict(list)]
    for r in range(n):
        here, sigma = slice(r, r + 1), None if g["sigma"] is None else g["sigma"][r : r + 1]
        for size, net in zip(sizes, exact.sizes(x[here], np.abs(x[here]), sigma, least), strict=True):
            far, level = dg.floats(np.abs(x[here])), None if sigma is None else dg.floats(sigma)
            p = net.at(far, np.abs(given["v"][:1, here]).astype(float), level)
            J = np.abs(net.jacobian(far, level))[0]
            for name, a in {"energy": p.f, "score": p.s, "jacobian": J, "trace": J.trace(), "curvature": p.c}.items():
                if a is not None:
                    size[name].append(np.abs(np.reshape(a, values[name].shape[1:])))
    out = {name: (value, *(np.stack(size[name]) for size in sizes)) for name, value in values.items()}
    positive = dg.objectives(exact, kept(given, lambda a: np.abs(a).astype(float)))
    for name, parts in dg.objectives(exact, g).items():
        S = dg.gradient_sizes(exact, parts, positive[name], n, least)
        out[f"gradient of {name}"] = (dg.gradient(exact, parts, n), *S)
    return out


def scaled(got, exact, S, dtype):
    """(worst of |got - exact| / (eps S), entries left out because S is beyond the dtype's range or below it)."""
    info = np.finfo(dtype)
    low, high = info.tiny / info.eps, info.max / 16
    fits = (low <= S) & (high >= S)
    off = np.array([abs(float(dg.Decimal(float(a)) - b)) if np.isfinite(a) else np.inf for a, b in zip(np.ravel(got), np.ravel(exact), strict=True)])  # fmt: skip
    off = np.where(np.ravel(exact) == 0, np.where(np.ravel(got) == 0, 0, off), off)
    flat, fits = np.ravel(S), np.ravel(fits)
    return float(np.max(off[fits] / (float(info.eps) * flat[fits]), initial=0.0)), int(np.sum(~fits & (flat > 0)))


def errors(k, seed):
    """(regime, dtype, {quantity: (in eps S, in eps S2, entries left out, entries)}) of the k-th network."""
    regime, model, given = draw(k, seed)
    dtype = model.theta.dtype
    with np.errstate(all="ignore"), context(dg.DIGITS):
        got, out = answers(model, given), {}
        for name, (exact, S, S2) in truths(model, given).items():
            a, left = scaled(got[name], exact, S, dtype)
            b, _ = scaled(got[name], exact, S2, dtype)
            out[name] = a, b, left, np.size(S)
    return regime, dtype.name, out


def report(args):
    """Rows of the table, and the worst networks."""
    number, started = max(28, round(NUMBER * args.share)), time.monotonic()
    worst, worst2 = defaultdict(float), defaultdict(float)
    left, entries, where = 0, 0, {}
    for k in range(number):
        regime, dtype, found = errors(k, args.seed)
        for name, (a, b, out, size) in found.items():
            kind = name if not name.startswith("gradient") else "gradients"
            left, entries = left + out, entries + size
            if regime == "ordinary":
                worst[kind, dtype] = max(worst[kind, dtype], a)
            if b > worst2[kind, dtype]:
                worst2[kind, dtype], where[kind, dtype] = b, f"network {k}, {regime}, {name}"
        if k % 50 == 49:
            print(f"{k + 1} networks, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    rows = []
    for kind in ("energy", "score", "trace", "jacobian", "curvature", "gradients"):
        for dtype in ("float64", "float32"):
            one, two = TARGETS.get(kind, TARGET), TARGET2
            a, b = worst[kind, dtype], worst2[kind, dtype]
            rows.append((f"{kind}, {dtype}: eps S, ordinary", f"<= {one}", f"{a:.3g}"))
            rows.append((f"{kind}, {dtype}: eps S2, all", f"<= {two}", f"{b:.3g}"))
    rows.append(("networks", NUMBER, str(number)))
    rows.append(("entries beyond the range of their dtype", "counted", f"{left} of {entries}"))
    return rows, "\n".join(f"- {kind}, {dtype}: largest in eps S2 at {w}" for (kind, dtype), w in sorted(where.items()))


if __name__ == "__main__":
    first, last = (int(a) for a in sys.argv[1:3])
    for k in range(first, last):
        begun = time.monotonic()
        regime, dtype, found = errors(k, 0)
        top = sorted(found.items(), key=lambda item: -item[1][1])[:3]
        tops = sorted(found.items(), key=lambda item: -item[1][0])[:2]
        print(
            k,
            regime,
            dtype,
            draw(k, 0)[1],
            f"{time.monotonic() - begun:.2f} s;",
            *(f"{n} S2 {f[1]:.3g} left {f[2]};" for n, f in top),
            *(f"{n} S {f[0]:.3g};" for n, f in tops),
        )
