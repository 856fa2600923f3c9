"""Sixty calls as a user writes them, for `mypy --strict`: tests/test_types.py asks that it reports nothing and reveals no Any."""

import numpy as np

import numpyscore as ns

x = ns.old_faithful()
z, mean, scale, constant = ns.standardise(x)
results = (
    x, z, mean, constant,
    ns.two_moons(50, noise=0.1, rng=0), ns.digits(), ns.digits(labels=True), ns.checkerboard(9, rng=np.random.default_rng(0)),
)  # fmt: skip

# densities
p = ns.Gaussian([0.0, 1.0], [[1.0, 0.2], [0.2, 2.0]])
mixture = ns.GaussianMixture([0.3, 0.7], [[-1.0], [1.0]], 1.0)
parzen = ns.Parzen(z, 0.4)
densities = (
    p, mixture, parzen, p.logpdf(z), p.score(z), p.jacobian(z), p.trace(z), p.curvature(z, z), p.sample(5, rng=0), p.perturbed(0.5),
    p.mean, parzen.sigma, ns.Exponential(2.0).support, ns.StudentT(8.0, 0.0, 1.0).dim,
)  # fmt: skip

# networks
net = ns.EnergyMLP.init(2, (8, 8), "softplus", confinement=1.0, rng=0)
field = ns.ScoreMLP.init(2, (8,), rng=0)
told = ns.EnergyMLP.init(2, (8,), confinement=1.0, conditional=True, rng=0)
at = net.evaluate(z, energy=True, trace=True)
networks = (
    net, field, net.energy(z), net.score(z), net.trace(z), net.jacobian(z), told.score(z, sigma=0.5), net.theta, net.layers,
    net.with_theta(net.theta * 0.5), at, at.score, at.pullback(energy_bar=1.0),
)  # fmt: skip

# losses
loss = ns.implicit(net, z)
denoised = ns.denoising(net, z, 0.3, rng=0)
both = loss + 0.1 * denoised
losses = (
    loss, loss.value, loss.gradient, loss.per_sample, both, both.gradient, f"{loss:.3f}", float(loss), loss < 1.0,
    ns.explicit(net, z, p.score(z)), ns.sliced(net, z, rng=0), ns.multilevel_denoising(told, z, [1.0, 0.1], rng=0),
    ns.implicit_loss(p.score(z), p.trace(z)), ns.generalised(net, z, *ns.box_weight(-9.0, 9.0)),
)  # fmt: skip

# integrals, verdicts
integral = ns.expectation(net.trace, p)
verdict = ns.verify_line(lambda y: y[:, 0], 0.0, p)
verdicts = ns.verify(density="beta", only="boundary term")
judged = (
    integral, integral.value, 2 * integral + 1, ns.flux(net.score, p), ns.fisher_divergence(p, p), ns.kl_divergence(p, p),
    verdict, verdict.gap, verdict.ok, bool(verdict), verdicts, verdicts.worst, verdicts.summary, verdicts.to_dict(),
)  # fmt: skip

# sampling, learning
chains = ns.langevin(p, z, 0.1, 3, rng=0)
levels = ns.geometric_levels(3.0, 0.1, 5)
found = ns.fit(x, objective="implicit", sigma=0.3, steps=12, rng=0)
drawn = ns.draw(found, 3, rng=0)
sampled = (
    chains, chains.samples, chains.acceptance, levels, ns.annealed_langevin(p.perturbed, z, levels, 2, rng=0), found, found.score(x),
    found.sample(3, rng=0), found.evaluate(x), found.units, found.units.columns, found.model, drawn, drawn.samples,
    ns.log_normaliser(net), ns.kernel_stein_discrepancy(p, z), ns.energy_distance(z, z), ns.perturb(z, 0.1, rng=0), ns.suggest_levels(z),
)  # fmt: skip


def my_loss(fn: object, y: object) -> float:
    return 0.0


checked = (ns.check_loss(my_loss, objective="implicit"), ns.check_score(p.score, logpdf=p.logpdf, x=z).verdict)

# the textbook, assertions for pytest
layers = tuple(
    (W.astype(np.float64), b.astype(np.float64)) for W, b in ns.EnergyMLP.init(2, (4,), "tanh", rng=0).layers
)
small = ns.textbook.Network.of(layers, ns.textbook.tanh)
point = ns.textbook.energy_network(small, z, ns.textbook.collapsed(small, z))
taught = (
    small,
    point,
    point.s,
    ns.textbook.loss_and_gradient(ns.textbook.implicit, point),
    ns.testing.assert_rows(p.score, z),
)
