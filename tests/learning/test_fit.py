"""`fit`: the same bits however often it is stopped, numbers that a brute force finds again, and plain words for what goes wrong."""

import functools
import json
import math
import os

import numpy as np
import pytest
from frames import Frame
from nightly import mostly

from numpyscore import (
    EnergyMLP,
    Gaussian,
    GaussianMixture,
    Parzen,
    ScoreMLP,
    draw,
    eight_gaussians,
    explicit,
    fit,
    implicit,
    load,
    log_likelihood,
    multilevel_denoising,
    old_faithful,
    song_ermon_mixture,
    standardise,
    two_moons,
)
from numpyscore.common.files import read_npz, write_npz
from numpyscore.display.fit_figure import chosen_lines
from numpyscore.learning.checkpoints import Checkpoint, from_arrays, to_arrays
from numpyscore.learning.settings import OBJECTIVES
from numpyscore.learning.splits import NestedFolds, Run, best_step
from numpyscore.learning.summary import _sharpness
from numpyscore.learning.task import Task
from numpyscore.learning.units import load_fitted, load_ladder

EPS = np.finfo(float).eps
ROWS = GaussianMixture([0.4, 0.6], [[-2.0, 0.0], [2.0, 1.0]], [[0.5, 0.1], [0.1, 0.3]]).sample(40, rng=0) * [
    1.0,
    20.0,
] + [0, 300]
SMALL = EnergyMLP.init(2, (6,), "silu", confinement=0.1, rng=0)
QUICK = {"objective": "implicit", "steps": 12, "model": SMALL, "sigma": 0.3}


def contents(folder):
    return {name: (folder / name).read_bytes() for name in sorted(os.listdir(folder))}


class Stop:
    """A progress callable that raises KeyboardInterrupt at the k-th call."""

    def __init__(self, k):
        self.left = k

    def __call__(self, share, state):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


# ------------------------------------------------------------------------------- the same bits


VARIETIES = {
    "adam": {"sigma": "auto", "steps": 6},
    "lbfgs": {"optimiser": "lbfgs"},
    "batches": {"batch": 7, "sigma": 0.3},
    "sliced": {"objective": "sliced", "sigma": 0.3},
    "ends": {"objective": "generalised", "support": ([-np.inf, 250], [6, np.inf]), "sigma": 0.3},
    "float32": {"model": EnergyMLP.init(2, (6,), "silu", confinement=0.1, rng=0, dtype=np.float32)},
    "levels": {
        "objective": "multilevel_denoising",
        "model": ScoreMLP.init(2, (6,), "silu", conditional=True, rng=0),
        "steps": 12,
        "sigma": "auto",
    },
}


@pytest.mark.parametrize("name", mostly(VARIETIES, "adam", "lbfgs", "batches", "levels"))
def test_a_fit_stopped_at_random_and_resumed_ends_in_the_same_bits(name, tmp_path):
    options = QUICK | VARIETIES[name]
    whole = fit(ROWS, out=tmp_path / "whole", **options)
    rng, stops = np.random.default_rng(1), 0
    for _ in range(200):
        try:
            again = fit(ROWS, out=tmp_path / "stopped", resume=True, progress=Stop(int(rng.integers(1, 60))), **options)
            break
        except KeyboardInterrupt:
            stops += 1
            assert os.listdir(tmp_path / "stopped") == ["checkpoint.npz"]
    assert stops >= 2 and contents(tmp_path / "whole") == contents(tmp_path / "stopped")
    assert again.model.theta.tobytes() == whole.model.theta.tobytes() and repr(again.history) == repr(
        whole.history
    )  # NaN != NaN


def test_without_a_folder_the_same_and_with_another_seed_another_network():
    a, b, c = (fit(ROWS, rng=rng, **QUICK).model.theta for rng in (3, 3, 4))
    assert a.tobytes() == b.tobytes() != c.tobytes()
    d, e = (fit(ROWS, rng=np.random.default_rng(5), **QUICK).model.theta for _ in range(2))
    assert d.tobytes() == e.tobytes()


def test_control_a_state_that_forgets_anything_ends_in_other_bits():
    """Each field of the state, set back once on the way, changes the result: so each is needed, and the comparison sees it."""
    task = Task(ROWS, "implicit", 0.3, SMALL, 0, "adam", 12, 256, 0.01)

    def end(change=None):
        state = task.start()
        for k in range(10**6):
            if state.run == task.split.runs:
                return to_arrays(state, "")["sha256"].item()
            state = task.next(state)
            if k == 17 and change:
                state = change(state)

    right = end()
    zero = lambda name: lambda s: s._replace(adam=s.adam._replace(**{name: 0 * getattr(s.adam, name)}))
    assert end() == right == end(lambda s: from_arrays(to_arrays(s, ""), task.start()))
    for change in (
        zero("m"),
        zero("v"),
        zero("average"),
        lambda s: s._replace(total=0.0),
        lambda s: s._replace(history=()),
    ):
        assert end(change) != right


def test_nothing_that_comes_in_is_changed():
    rows, theta = ROWS.copy(), SMALL.theta.copy()
    rows.flags.writeable = False
    fit(rows, **QUICK)
    assert (rows == ROWS).all() and (theta == SMALL.theta).all()


# ------------------------------------------------------------------------------- numbers found again


@functools.lru_cache
def fitted():
    return fit(ROWS, **QUICK | {"steps": 30, "sigma": 0.3})


def test_the_gaussian_beside_it_is_that_of_a_brute_force():
    """Per fold: sample mean, 1/n covariance, 1/2 |P (x - m)|^2 - tr P, in standardised units."""
    z = standardise(ROWS).x
    losses = np.empty(len(z))
    for tested, trained in NestedFolds(len(z), 1, np.random.default_rng((0, len(z)))).tested():
        P = np.linalg.inv(np.cov(z[trained].T, bias=True))
        losses[tested] = 0.5 * (((z[tested] - z[trained].mean(0)) @ P) ** 2).sum(1) - np.trace(P)
    s = fitted().summary["gaussian"]
    assert s["rows"] == 40
    np.testing.assert_allclose([s["mean"], s["se"]], [losses.mean(), losses.std(ddof=1) / 40**0.5], rtol=1e-12)


def test_history_and_summary_agree_with_the_network_that_is_handed_out():
    result = fitted()
    s, z = result.summary, standardise(ROWS).x
    last = result.history[-1]
    assert last.fold == -1 and last.step == s["step"] and np.isnan(last.held_out)
    np.testing.assert_allclose(last.train, implicit(result.model, z).value, rtol=1e-12)
    chosen = [line for line in result.history if line.run < 10 and line.step == s["step"]]
    assert len(chosen) == 20
    level = min(s["levels"], key=lambda level: level["held_out"])
    np.testing.assert_allclose(level["held_out"], np.mean([line.held_out for line in chosen]), rtol=1e-12)
    assert s["units"]["sigma"] == 0.3 and s["held_out"]["rows"] == 40
    difference = s["held_out"]["mean"] - s["gaussian"]["mean"]
    np.testing.assert_allclose(s["difference"]["mean"], difference, atol=1e-12)


def test_the_folder_holds_what_is_returned(tmp_path):
    result = fit(ROWS, out=tmp_path / "out", **QUICK)
    assert sorted(os.listdir(tmp_path / "out")) == ["checkpoint.npz", "metrics.csv", "model.npz", "summary.json"]
    model, units = load_fitted(tmp_path / "out" / "model.npz")
    assert model.theta.tobytes() == result.model.theta.tobytes() == load(tmp_path / "out" / "model.npz").theta.tobytes()
    np.testing.assert_allclose(units.mean, ROWS.mean(0), rtol=8 * EPS)
    np.testing.assert_allclose(units.scale, ROWS.std(0), rtol=8 * EPS)
    assert units.columns == result.units.columns == ("x1", "x2") and units.sigma == result.units.sigma
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == result.summary
    table = np.genfromtxt(tmp_path / "out" / "metrics.csv", delimiter=",", names=True)
    np.testing.assert_array_equal(table["held_out"], [line.held_out for line in result.history])


def test_the_ladder_is_the_networks_at_the_end_of_each_larger_noise(tmp_path):
    """The last training alone, without folds, by hand: the same states, their averages at the end of each level."""
    options = QUICK | {"sigma": "auto"}
    result = fit(ROWS, out=tmp_path, **options)
    assert len(result) == 3
    levels, (*above, last), sigmas = result.summary["levels"], result.ladder.networks, result.ladder.sigmas
    assert last is result.model and sigmas[-1] == result.units.sigma
    assert list(sigmas) == [level["sigma"] for level in levels][: len(sigmas)] and len(above) == len(sigmas) - 1 > 0
    task = Task(ROWS, "implicit", "auto", SMALL, 0, "adam", 12, 256, 0.01)
    state = task.start()._replace(run=task.split.runs - 1, history=result.history)
    for network in above:
        while state.adam is None or state.adam.step < 12:
            state = task.next(state)
        assert network.theta.tobytes() == state.adam.average.tobytes()
        state = task.next(state)
    saved = load_ladder(tmp_path / "model.npz")
    assert [n.theta.tobytes() for n in saved.networks] == [n.theta.tobytes() for n in result.ladder.networks]
    assert fit(ROWS, **QUICK).ladder is None


def test_on_gaussian_data_the_held_out_loss_is_that_of_the_true_score():
    """z ~ N(0, I) in two columns: the best loss is -d/2 = -1. Which wrong answers pass? A halved trace would give -0.25 at best, a
    loss summed where a mean is due hundreds. The network's own error lifts the loss by a Fisher divergence, here below 0.15."""
    result = fit(np.random.default_rng(0).standard_normal((400, 2)), objective="implicit", sigma=0.3, steps=60)
    s = result.summary
    assert abs(s["gaussian"]["mean"] + 1) < 4 * s["gaussian"]["se"]
    assert -4 * s["difference"]["se"] - 1e-3 < s["difference"]["mean"] < 0.15


def test_less_noise_must_be_better_by_two_standard_errors():
    """The losses of both networks row by row, on the rows that choose; z scores on both sides of 2, and of 0."""
    task = Task(
        np.random.default_rng(0).standard_normal((1100, 2)), "implicit", "auto", SMALL, 0, "adam", 10, 256, 0.01
    )
    run = task.split.run(0, ())
    loss = lambda net: 0.5 * (net.score(task.z[run.folds[0]]) ** 2).sum(1) + net.trace(task.z[run.folds[0]])
    seen = []
    for scale in (0.5, 0.9, 0.99, 1.01, 1.1, 2.0):
        net = SMALL.with_theta(scale * SMALL.theta)
        gain = loss(SMALL) - loss(net)
        z = gain.mean() / (gain.std(ddof=1) / len(gain) ** 0.5)
        best = (SMALL.theta, 0.0, 10)  # the last step of the first level
        assert task._worth(run, net, 1, best) == (z > 2) and task._worth(run, net, 0, best)
        assert task._worth(
            run._replace(report=run.report[:0]), net, 1, best
        )  # cross-validation chooses by the mean over folds
        seen.append(z)
    assert len(run.folds[0]) == 165 and min(seen) < 0 and max(seen) > 2


def test_less_noise_is_taken_where_there_is_detail():
    """Eight Gaussians of standard deviation 0.17 in standardised units: at 0.4 of noise half of the loss is missing."""
    s = fit(eight_gaussians(1100, rng=0), objective="implicit", steps=150).summary
    assert s["units"]["sigma"] < 0.2 and s["difference"]["mean"] < -15


@pytest.mark.parametrize("objective", [*OBJECTIVES, "callable"])
def test_every_objective_learns_the_noisy_density(objective, monkeypatch):
    """The Fisher divergence to the Parzen density of the rows, sigma 0.4, falls below 0.15 of where training started.

    A wrong sign, a halved trace or the clean target in place of the noisy one leave more than that (the control: sigma 0.8).
    """
    monkeypatch.setattr("numpyscore.learning.task.SMALL", 100)  # one training, not sixteen
    rows = GaussianMixture([0.4, 0.6], [[-2.0, 0.0], [2.0, 1.0]], [[0.5, 0.1], [0.1, 0.3]]).sample(200, rng=0)
    z, several = standardise(rows).x, objective == "multilevel_denoising"
    model = EnergyMLP.init(2, (16, 16), "silu", confinement=0.1, conditional=several, rng=0)
    q, told = Parzen(z, 0.4), {"sigma": 0.4} if several else {}
    y = q.sample(2000, rng=1)
    far = lambda net: explicit(net, y, q.score(y), **told).value

    def towards(net, x, sigma, rng):
        noisy = x + sigma * rng.standard_normal(x.shape)
        return explicit(net, noisy, Parzen(z, sigma).score(noisy))

    def trained(sigma):
        rule = towards if objective == "callable" else objective
        return fit(rows, objective=rule, model=model, steps=1200 if several else 400, rate=0.02, sigma=sigma).model

    assert (
        far(trained([1.0, 0.7, 0.4] if several else 0.4))
        < 0.15 * far(model)
        < far(trained([1.0, 0.9] if several else 0.8))
    )


def test_levels_are_compared_by_denoising_at_all_of_them():
    sigmas = [1.0, 0.5]
    model = ScoreMLP.init(2, (6,), "silu", conditional=True, rng=0)
    task = Task(ROWS, "multilevel_denoising", sigmas, model, 0, "adam", 5, 256, 0.01)
    rows, eps = np.array([3, 1, 4]), task.noise[[3, 1, 4]]
    signs = (1, -1)
    brute = [
        np.mean(
            [
                0.5 * s**2 * ((model.score(x[None] + c * s * e, sigma=s)[0] + c * e / s) ** 2).sum()
                for s in sigmas
                for c in signs
            ]
        )
        for x, e in zip(task.z[rows], eps, strict=True)
    ]
    np.testing.assert_allclose(task.criterion(model, rows), brute, rtol=1e-12)
    density, q = Gaussian([0.1, 0.2], [[1.0, 0.5], [0.5, 1.0]]), []
    for x, e in zip(task.z[rows], eps, strict=True):
        one = [
            0.5 * s**2 * ((density.perturbed(s).score(x[None] + c * s * e)[0] + c * e / s) ** 2).sum()
            for s in sigmas
            for c in signs
        ]
        q.append(np.mean(one))
    np.testing.assert_allclose(task.density_criterion(density, rows), q, rtol=1e-12)


# ------------------------------------------------------------------------------- the density, and what it is compared with

LEVELS = EnergyMLP.init(2, (8, 8), "silu", confinement=1.0, conditional=True, rng=0)


def test_the_held_out_log_likelihoods_are_those_of_the_flow_and_the_baselines(monkeypatch):
    """Three parts: the report's rows by `log_likelihood` at a finer tolerance, per unit of the data. All levels that may be the least:
    the one taken is the best of the rows that choose, to the tolerance of a choice, ROUGHLY = .01 nats."""
    monkeypatch.setattr("numpyscore.learning.task.SMALL", 30)
    result = fit(ROWS, model=LEVELS, steps=60)
    found, task = (
        result.summary["log_likelihood"],
        Task(ROWS, "multilevel_denoising", "auto", LEVELS, 0, "adam", 60, 256, 0.01),
    )
    sigmas, report, z = task.sigmas[0], task.split.report, task.z
    log_p = lambda rows, k: log_likelihood(result.model, z[rows], sigma_min=sigmas[k], sigma_max=sigmas[0], rtol=1e-8)
    means = {k: log_p(task.split.choose, k).mean() for k in task.leasts}
    best = task.leasts[int(np.argmin(np.abs(sigmas[task.leasts] - found["sigma"])))]
    assert max(means.values()) - means[best] < 0.01 < max(means.values()) - min(means.values()), means
    assert (
        len(task.leasts) > 2
        and result.units.sigma[-1] == found["sigma"] == sigmas[best]
        and found["network"]["rows"] == len(report)
    )
    volume = 0.5 * np.linalg.slogdet(np.cov(ROWS.T, bias=True))[1]  # of a unit cube of z, whose covariance is 1
    mine = log_p(report, best) - volume
    np.testing.assert_allclose(found["network"]["mean"], mine.mean(), atol=1e-4)
    gaussian = Gaussian(z[task.split.train].mean(0), np.cov(z[task.split.train].T, bias=True)).logpdf(z[report])
    np.testing.assert_allclose(found["gaussian"]["mean"], (gaussian - volume).mean(), atol=1e-4)
    rivals = [found[name]["mean"] for name in ("gaussian", "kernel_density", "mixture")]
    np.testing.assert_allclose(found["difference"]["mean"], found["network"]["mean"] - max(rivals), atol=1e-12)


def test_of_folds_each_row_is_weighed_by_a_network_that_never_saw_it_at_a_level_that_others_chose():
    task = Task(ROWS, "multilevel_denoising", "auto", LEVELS, 0, "adam", 16, 256, 0.01)
    state = task.start()
    while state.run < task.split.runs:
        state = task.next(state)
    rows, log_p, level = task.log_likelihoods(state)
    table = np.empty((40, len(task.leasts)))
    for k, fold in enumerate(task.split.folds):
        run, steps = task.split.run(k, ()), sorted({line.step for line in state.history if line.fold == 0})
        assert not set(run.rows) & set(fold)
        means = {  # way of training, step -> mean over the other folds
            (way, s): np.mean([h.held_out for h in state.history if h.run // 5 == way and h.step == s and h.fold not in (k, -1)])
            for way in (0, 1)
            for s in steps
        }  # fmt: skip
        way, step = min(means, key=means.get)
        net = LEVELS.with_theta(state.kept[len(steps) * (5 * way + k) + steps.index(step)])
        for j, least in enumerate(task.leasts):
            table[fold, j] = log_likelihood(
                net, task.z[fold], sigma_min=task.sigmas[0][least], sigma_max=task.sigmas[0][0], rtol=1e-6
            )
    expected = [
        table[i, np.argmax(table[others].mean(0))]
        for i, others in ((i, np.setdiff1d(np.arange(40), fold)) for fold in task.split.folds for i in fold)
    ]
    np.testing.assert_array_equal(rows, np.arange(40))
    np.testing.assert_allclose(log_p[np.concatenate(task.split.folds)], expected, atol=2e-4)
    assert level == task.leasts[int(np.argmax(table.mean(0)))]


def test_on_gaussian_rows_the_default_comes_as_near_as_a_gaussian():
    """Two columns: a Gaussian's held-out log-likelihood is below the truth by 5/2 in 150 rows; the network's by less than 0.2."""
    s = fit(np.random.default_rng(1).standard_normal((150, 2)) * [1.0, 50.0], steps=80).summary["log_likelihood"]
    assert s["network"]["mean"] > s["gaussian"]["mean"] - 0.2 and s["network"]["rows"] == 150
    assert abs(s["gaussian"]["mean"] + np.log(2 * np.pi * np.e * 50)) < 4 * s["gaussian"]["se"] + 5 / 300


# ------------------------------------------------------------------------------- what goes wrong, in words


def test_without_noise_the_network_collapses_and_is_told_to_use_noise():
    model = EnergyMLP.init(2, (32, 32), "tanh", confinement=0.1, rng=0)
    result = fit(old_faithful(), objective="implicit", sigma=0, model=model, optimiser="lbfgs", steps=60)
    s = result.summary
    assert s["collapsed"] and s["end"]["train"] < -15 and s["end"]["held_out"] > 0
    (note,) = [note for note in s["notes"] if "collapse" in note]
    assert "collapses onto the samples" in note and "--sigma auto" in note
    recommended = float(note.split("--sigma ")[2].split(",")[0])
    assert 0.1 <= recommended <= 0.3


nightly = pytest.mark.nightly


@pytest.mark.parametrize(
    "seed, options",
    [(0, {"sigma": 0.14, "steps": 60}), *(pytest.param(seed, {}, marks=nightly) for seed in range(3))],
    ids=["quick", "seed 0", "seed 1", "seed 2"],
)
def test_old_faithful_is_learned_better_than_by_a_gaussian(seed, options):
    """Every row tested once: two standard errors of the paired difference below the Gaussian's, and sigma where it should be."""
    s = fit(old_faithful(), objective="implicit", rng=seed, **options).summary
    assert s["held_out"]["rows"] == 272 and -6 < s["gaussian"]["mean"] < -4.5
    assert s["difference"]["mean"] < -2 * s["difference"]["se"] and 0.05 <= s["units"]["sigma"] <= 0.2


@pytest.mark.parametrize(
    "objective, seed",
    [
        pytest.param("multilevel_denoising", 0, marks=nightly),
        *(pytest.param("implicit", seed, marks=nightly) for seed in range(5)),
    ],
)
def test_levels_of_noise_give_the_modes_of_old_faithful_their_weights(objective, seed):
    """Share of 10 000 samples below 3 minutes, by the flow or down the ladder: 0.357 in the data."""
    x = old_faithful()
    result = fit(x, objective=objective, rng=seed)
    drawn = draw(result.model, 10_000, sigmas=result.units.sigma, ladder=result.ladder, rng=seed).samples
    assert abs((result.units.to_data(drawn)[:, 0] < 3).mean() - (x[:, 0] < 3).mean()) < 0.03


def test_with_noise_it_does_not():
    assert not fitted().summary["collapsed"] and not any("collapse" in note for note in fitted().summary["notes"])


def test_a_constant_column_is_kept_at_scale_1_and_said():
    rows = np.column_stack([ROWS, np.full(40, 7.0)])
    result = fit(
        rows, objective="implicit", sigma=0.3, steps=6, model=EnergyMLP.init(3, (6,), "silu", confinement=0.1, rng=0)
    )
    assert result.units.scale[2] == 1 and result.units.mean[2] == 7
    assert "constant columns kept at scale 1: x3" in result.summary["notes"][0]
    assert "no Gaussian to compare with" in result.summary["notes"][1] and result.summary["gaussian"] is None


def damage(path, how):
    whole = bytearray(path.read_bytes())
    if how == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_text("hello")
    elif how == "a model":
        SMALL.save(path)
    elif how == "pickled":
        np.savez(path.with_name("p"), state=np.array([{}], object))
        path.with_name("p.npz").replace(path)
    else:
        data = read_npz(path, ValueError)
        if how == "a flip under a right CRC":  # the checksum inside, not the zip's
            data["adam_m"] = data["adam_m"].copy()
            data["adam_m"][0] = np.nextafter(data["adam_m"][0], 1)
        elif how == "version":
            data["version"] = np.asarray(1)
        write_npz(path, data)


DAMAGES = {
    "truncated": "not a whole npz file",
    "empty": "not a whole npz file",
    "text": "not a whole npz file",
    "a model": "not a numpyscore checkpoint",
    "pickled": "plain arrays",
    "a flip under a right CRC": "checksum",
    "version": "format version 1",
}


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_checkpoint_is_one_value_error_and_stays_as_it_is(how, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(ROWS, out=tmp_path, progress=Stop(20), **QUICK)
    damage(tmp_path / "checkpoint.npz", how)
    before = (tmp_path / "checkpoint.npz").read_bytes()
    with pytest.raises(
        ValueError, match=rf"^fit: .*checkpoint\.npz .*{DAMAGES[how]}.*; expected a checkpoint of this fit\."
    ):
        fit(ROWS, out=tmp_path, resume=True, **QUICK)
    assert (tmp_path / "checkpoint.npz").read_bytes() == before


@pytest.mark.parametrize(
    ("other", "said"),
    [({"rng": 1}, "begun with seed 0, now 1;"), ({"steps": 7}, "begun with steps 12, now 7;"), ({"rate": 0.02}, "rate 0.01, now 0.02;"),
     ({"sigma": 0.2}, "sigma 0.3, now 0.2;"), ({"optimiser": "lbfgs"}, "optimiser adam, now lbfgs;"),
     ({"objective": "sliced"}, "objective implicit, now sliced;"), ({"batch": 9}, "batch 256, now 9;"),
     ({"robust": True}, "robust False, now True;"),
     ({"objective": "generalised", "support": (-9, np.inf)}, "objective implicit, now generalised; lower and upper None, now .-9, inf"),
     ({"model": SMALL.with_theta(SMALL.theta * 1.1)}, "of another fit: of other weights of the network;"),
     ({"data": ROWS + [0, 1e-9]}, "of another fit: of other data;"), ({"data": ROWS[:-1]}, f"begun with rows {len(ROWS)}, now {len(ROWS) - 1};")],
    ids=lambda part: next(iter(part)) if isinstance(part, dict) else "",
)  # fmt: skip
def test_a_checkpoint_of_another_fit_is_refused_and_what_differs_is_named(other, said, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(ROWS, out=tmp_path, progress=Stop(20), **QUICK)
    options = QUICK | other
    with pytest.raises(ValueError, match=said):
        fit(options.pop("data", ROWS), out=tmp_path, resume=True, **options)


def test_a_folder_that_holds_a_fit_is_kept_unless_told(tmp_path):
    fit(ROWS, out=tmp_path, **QUICK)
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match=r"holds a fit already .*resume.*overwrite"):
        fit(ROWS, out=tmp_path, **QUICK)
    assert contents(tmp_path) == before
    fit(ROWS, out=tmp_path, resume=True, **QUICK)  # of a finished fit: the same again
    assert contents(tmp_path) == before
    fit(ROWS, out=tmp_path, overwrite=True, rng=1, **QUICK)
    assert contents(tmp_path) != before


def test_a_folder_that_cannot_be_made_is_an_os_error_before_any_training(tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(OSError, match="file"):
            fit(ROWS, out=out, progress=Stop(1), **QUICK)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="modes do not bind root")
def test_a_read_only_folder_is_an_os_error_before_any_training(tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(OSError, match="Permission denied"):
        fit(ROWS, out=tmp_path, progress=Stop(1), **QUICK)


def test_two_fits_in_one_folder_do_not_take_each_other_for_one(tmp_path, monkeypatch):
    monkeypatch.setattr("numpyscore.learning.checkpoints.SECONDS", 0.0)

    def meanwhile(share, state):
        if state.run == 1:
            fit(ROWS, out=tmp_path, overwrite=True, rng=1, **QUICK)

    with pytest.raises(OSError, match="another fit has written"):
        fit(ROWS, out=tmp_path, progress=meanwhile, **QUICK)
    assert json.loads((tmp_path / "summary.json").read_text())["seed"] == 1


def test_training_that_diverged_is_said_to_have_learned_nothing():
    notes = fit(ROWS, rate=1e3, **QUICK).summary["notes"]
    assert any("nothing was learned" in note and "lower the rate" in note for note in notes), notes


def test_a_disk_that_fills_up_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr("numpyscore.learning.checkpoints.SECONDS", 0.0)
    fsync, calls = os.fsync, []

    def full(handle):
        calls.append(handle)
        if len(calls) > 60:
            raise OSError(28, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        fit(ROWS, out=tmp_path / "out", **QUICK)
    monkeypatch.undo()
    assert os.listdir(tmp_path / "out") == ["checkpoint.npz"]
    fit(ROWS, out=tmp_path / "out", resume=True, **QUICK)
    fit(ROWS, out=tmp_path / "whole", **QUICK)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_loss_that_leaves_the_numbers_is_one_value_error():
    diverging = lambda net, x, sigma, rng: type("Loss", (), {"value": np.nan, "gradient": net.theta})
    with pytest.raises(ValueError, match=r"fit: the training loss is nan at step 1 .*Lower the rate, now 0\.01"):
        fit(ROWS, **QUICK | {"objective": diverging})


BAD = {
    "few rows": ({"data": ROWS[:9]}, ValueError, "at least 10 rows"),
    "one axis": ({"data": ROWS[:, 0]}, ValueError, r"data has shape \(40,\)"),
    "NaN": ({"data": np.where(ROWS > 320, np.nan, ROWS)}, ValueError, r"data\[.* is nan"),
    "complex": ({"data": ROWS + 0j}, ValueError, "real numbers"),
    "objective": ({"objective": "ism"}, ValueError, "objective is 'ism', expected one of implicit"),
    "sigma word": ({"sigma": "small"}, ValueError, "sigma is 'small', expected 'auto'"),
    "sigma negative": ({"sigma": -1}, ValueError, "sigma is -1"),
    "sigma endless": ({"sigma": 1e300}, ValueError, "expected 'auto' or one number from 0 to 1000"),
    "far rows": ({"data": ROWS * 1e300}, ValueError, "choose another unit"),
    "sigma levels": ({"sigma": [1, 2]}, ValueError, "one number from 0"),
    "no noise to remove": ({"sigma": 0, "objective": "denoising"}, ValueError, "sigma is 0"),
    "optimiser": ({"optimiser": "sgd"}, ValueError, "optimiser is 'sgd'"),
    "steps": ({"steps": 0}, ValueError, "steps is 0"),
    "rate": ({"rate": np.nan}, ValueError, "rate is nan"),
    "model of another dim": ({"model": EnergyMLP.init(3, (4,), rng=0)}, ValueError, "expected dim 2"),
    "no model": ({"model": 3}, TypeError, "model is an int"),
    "conditional": (
        {"model": EnergyMLP.init(2, (4,), conditional=True, rng=0)},
        ValueError,
        "conditional and the objective",
    ),
    "plain": ({"objective": "multilevel_denoising"}, ValueError, "not conditional"),
    "rng": ({"rng": -1}, ValueError, "rng is -1"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_fitted_is_refused_in_words(name):
    change, error, message = BAD[name]
    options = QUICK | change
    with pytest.raises(error, match=rf"^fit: .*{message}"):
        fit(options.pop("data", ROWS), **options)


def test_a_checkpoint_without_a_folder_keeps_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoint = Checkpoint(None, "")
    checkpoint.write(Task(ROWS, "implicit", 0.3, SMALL, 0, "adam", 2, 256, 0.01).start())
    assert os.listdir(tmp_path) == []


# ------------------------------------------------------------------------------- columns that are nearly functions of others


def nearly_dependent(n):
    x = np.random.default_rng(0).standard_normal((n, 3)) * [1.0, 0.02, 1.0]
    return np.column_stack([x[:, 0], 50 * x[:, 0] + 50 * x[:, 1], x[:, 2]]) + [0, 7, -3]


def test_columns_nearly_functions_of_one_another_lose_their_correlations_and_get_them_back(tmp_path):
    rows = nearly_dependent(60)
    model = EnergyMLP.init(3, (6,), "silu", confinement=1.0, conditional=True, rng=0)
    result = fit(rows, model=model, steps=8, out=tmp_path)
    units, z = result.units, result.units.to_standard(rows)
    np.testing.assert_allclose(
        np.cov(z.T, bias=True), np.eye(3), atol=2e-2
    )  # a ridge of 1e-6, the thin variance 1.1e-4: 1 %
    np.testing.assert_allclose(units.to_data(z), rows, rtol=1e-9)
    _, saved = load_fitted(tmp_path / "model.npz")
    assert saved.mix.tobytes() == units.mix.tobytes() and "mix" in result.summary["units"]
    # score and trace in the units of the data, by differences of the energy in each of them
    at, h, told = rows[:4], 1e-4, {"sigma": 0.5}
    f = lambda x: units.energy(result.model, x, **told)
    steps = h * units.scale * 0.02 * np.eye(3)
    slope = [(f(at + e) - f(at - e)) / (2 * e.sum()) for e in steps]
    bend = [(f(at + e) - 2 * f(at) + f(at - e)) / e.sum() ** 2 for e in 100 * steps]
    score, trace = units.score(result.model, at, **told), units.trace(result.model, at, **told)
    np.testing.assert_allclose(score, -np.transpose(slope), rtol=1e-5, atol=1e-5 * np.abs(score).max())
    np.testing.assert_allclose(trace, -np.sum(bend, axis=0), rtol=1e-3)
    # and the volume: a Gaussian of the data has the same density by either way
    there = Gaussian(np.zeros(3), np.cov(z.T, bias=True)).logpdf(z) - units.log_volume(z)
    np.testing.assert_allclose(there, Gaussian(rows.mean(0), np.cov(rows.T, bias=True)).logpdf(rows), atol=1e-6)


def test_robust_columns_are_drawn_in_to_unit_variance_and_units_are_kept_where_there_are_no_correlations():
    """With --robust no cell makes a column's variance, nor turns the sign of its correlation, here .8: a far one is log 600 away, not 300."""
    rows = np.random.default_rng(0).standard_normal((200, 2)) @ [[1.0, 0.8], [0.0, 0.6]]
    rows[0] = 300.0, -300.0
    assert np.corrcoef(rows.T)[0, 1] < -0.99
    task = Task(rows, "multilevel_denoising", "auto", LEVELS, 0, "adam", 6, 256, 0.01, robust=True)
    z, mix = task.units.to_standard(rows), task.units.mix
    np.testing.assert_array_equal(z, task.z)
    np.testing.assert_allclose(np.cov(z.T, bias=True), np.eye(2), atol=1e-5)  # RIDGE 1e-6, over 1 - correlation^2
    assert np.abs(z).max() < 20 and mix[1, 0] > 0.25 * np.linalg.norm(mix[1])
    one = Task(rows[:, :1], "multilevel_denoising", "auto", None, 0, "adam", 6, 256, 0.01, robust=True)
    assert one.z.std() == pytest.approx(1, rel=1e-5) and one.units.mix.shape == (1, 1)
    # control: levels that were given are in deviations of the columns, and a constant column has no correlation
    three = EnergyMLP.init(3, (6,), "silu", confinement=1.0, conditional=True, rng=0)
    given = Task(nearly_dependent(60), "multilevel_denoising", [2.0, 0.5], three, 0, "adam", 6, 256, 0.01)
    constant = np.column_stack([ROWS[:, 0], np.ones(40)])
    assert (
        given.units.mix is None
        and Task(constant, "multilevel_denoising", "auto", LEVELS, 0, "adam", 6, 256, 0.01).units.mix is None
    )


def test_without_the_networks_part_the_density_is_the_gaussian_of_the_rows():
    """What the weights decay to. The noise left widens each variance by 1e-4, the prior by 1e-6 and RIDGE by some 1e-6: half of it times
    d + |z|^2 in nats."""
    rows = np.random.default_rng(0).standard_normal((60, 2)) @ [[1.0, 0.8], [0.0, 0.6]] * [1, 20] + [0, 7]
    task = Task(rows, "multilevel_denoising", "auto", LEVELS, 0, "adam", 6, 256, 0.01)
    log_p = log_likelihood(LEVELS.with_theta(0 * LEVELS.theta), task.z, sigma_min=0.01, sigma_max=1e3, rtol=1e-8)
    right = Gaussian(rows.mean(0), np.cov(rows.T, bias=True)).logpdf(rows)
    away = (task.z**2).sum(1)
    np.testing.assert_array_less(np.abs(log_p - task.units.log_volume(task.z) - right), 0.55e-4 * (2 + away))
    apart = Gaussian(rows.mean(0), np.diag(rows.var(0))).logpdf(
        rows
    )  # the control: correlations are worth -log(.6) = .5 nats
    assert np.mean(log_p - task.units.log_volume(task.z) - apart) > 0.3


def learned_from(rows, truth, steps=400):
    """By how much the density learned from all rows is below the truth, nats a row of fresh ones."""
    model = EnergyMLP.init(rows.shape[1], (32, 32, 32), "silu", confinement=1.0, conditional=True, rng=0)
    task = Task(rows, "multilevel_denoising", "auto", model, 0, "adam", steps, 256, 0.01)
    state = task.start()._replace(run=task.split.runs - 1)
    run = task.split.run(0, ())._replace(rows=np.arange(len(rows)), folds={})
    task._now = (state.run, run)
    while state.run < task.split.runs:
        state = task.next(state)
    fresh = truth.sample(400, rng=9)
    net, levels = model.with_theta(state.best[0]), task.sigmas[0]
    z = task.units.to_standard(fresh)
    log_p = log_likelihood(net, z, sigma_min=levels[-1], sigma_max=levels[0], rtol=1e-3) - task.units.log_volume(z)
    return float((truth.logpdf(fresh) - log_p).mean())


def test_weights_that_decay_learn_few_rows_less_by_heart(monkeypatch):
    """Sixty rows of a Gaussian in four columns: a Gaussian fitted to them is d (d + 3) / 4n = .12 nats below. Of rows along a curve
    decay hides the curve; so the folds choose."""
    truth = Gaussian(np.zeros(4), np.eye(4) + 0.7)
    rows = truth.sample(60, rng=1)
    with_decay = learned_from(rows, truth)
    monkeypatch.setattr("numpyscore.learning.task.DECAYS", (0.0,))
    without = learned_from(rows, truth)
    assert with_decay < 0.25 < 0.5 < without, (with_decay, without)
    monkeypatch.undo()
    several = lambda model, objective="multilevel_denoising": Task(
        ROWS, objective, [2.0, 0.5], model, 0, "adam", 6, 256, 0.01
    )
    own = lambda net, x, sigma, rng: multilevel_denoising(net, x, sigma, rng=rng)
    run = lambda n, way=0: Run(np.arange(n), {}, 1, np.arange(0), way)
    assert [several(LEVELS).decay(run(n)) for n in (32, 600, 60_000)] == [1.0, 0.1, 0.001]
    assert several(LEVELS).decay(run(32, 1)) == 0.0 and several(LEVELS).split.runs == 11
    assert several(LEVELS, own).decays == (0.0,)  # an objective of one's own is trained as it says
    assert several(ScoreMLP.init(2, (6,), "silu", conditional=True, rng=0)).decays == (0.0,)  # and decays to no density
    assert Task(ROWS, "implicit", 0.3, SMALL, 0, "adam", 12, 256, 0.01).decays == (0.0,)
    assert Task(ROWS, "multilevel_denoising", "auto", LEVELS, 0, "lbfgs", 6, None, None).decays == (0.0,)
    monkeypatch.setattr("numpyscore.learning.task.SMALL", 30)
    assert several(LEVELS).decays == (0.0,)  # a large table is stopped by rows held out


@pytest.mark.parametrize("kind", ["curve", pytest.param("plain", marks=pytest.mark.nightly)])
def test_folds_choose_decay_where_rows_are_gaussian_and_none_where_they_lie_along_a_curve(kind):
    rng = np.random.default_rng(0)
    plain, t = rng.standard_normal((60, 4)), rng.uniform(-3, 3, 60)
    curve = np.column_stack([t, np.sin(2 * t)]) + 0.1 * rng.standard_normal((60, 2))
    rows, right = {"plain": (plain, 0), "curve": (curve, 1)}[kind]
    model = EnergyMLP.init(rows.shape[1], (12, 12, 12), "silu", confinement=1.0, conditional=True, rng=0)
    result = fit(rows, model=model, steps=160 if right else 500, sigma=[6.0, 1.5, 0.4])
    # each way has five trainings, each of which leaves a fold out; the one handed out was trained the better way
    best = {way: best_step(result.history, {(5 * way + k, k) for k in range(5)}) for way in (0, 1)}
    means = {way: means[step] for way, (step, means) in best.items()}
    assert means[right] < means[1 - right] - 0.003, means
    assert result.summary["decay"] == (1.0, 0.0)[right] and result.summary["step"] == best[right][0]
    assert result.summary["levels"][0]["held_out"] == means[right]
    # the picture shows these alone, whose mean is least at the step taken
    drawn = chosen_lines(result)
    assert {line.run for line in drawn} == set(range(5 * right, 5 * right + 5))
    assert best_step(drawn, {(line.run, line.fold) for line in drawn}) == best[right]


# ------------------------------------------------------------------------------- in the units of the data


@functools.cache
def asked(kind):
    """A quick fit of a density at several levels, of a score at one, and of a score network without energy."""
    several = EnergyMLP.init(2, (6,), "silu", confinement=1.0, conditional=True, rng=0)
    options = {
        "density": {"objective": "multilevel_denoising", "model": several, "sigma": [4.0, 1.0, 0.4], "steps": 30},
        "score": {},
        "without energy": {"model": ScoreMLP.init(2, (6,), "silu", rng=0)},
        "ladder": {"sigma": "auto", "steps": 6},
    }[kind]
    return fit(ROWS, **(QUICK | options))


@pytest.mark.parametrize("kind", ["density", "score", "without energy", "ladder"])
def test_a_fit_answers_in_the_units_of_the_data(kind):
    """The second column has a scale of 20: scores in standardised units would be wrong by that factor."""
    found = asked(kind)
    model, units = found.model, found.units
    sigma = 0.4 if kind == "density" else None
    at = found.evaluate(ROWS[:5])
    z = (ROWS[:5] - units.mean) / units.scale
    np.testing.assert_allclose(found.score(ROWS[:5]), model.score(z, sigma=sigma) / units.scale, rtol=1e-12)
    np.testing.assert_array_equal(at.score, found.score(ROWS[:5]))
    np.testing.assert_array_equal(at.trace, found.trace(ROWS[:5]))
    # the trace is the divergence of the score in [x]: central differences, truncation h^2 and rounding eps/h of numbers near 1
    h = 1e-5 * units.scale
    slopes = [
        (found.score(ROWS[:5] + e) - found.score(ROWS[:5] - e))[:, i] / (2 * h[i]) for i, e in enumerate(np.diag(h))
    ]
    np.testing.assert_allclose(at.trace, sum(slopes), rtol=1e-6, atol=1e-6)
    if kind == "without energy":
        assert at.energy is None and at.logpdf is None and "score network" in at.why
        with pytest.raises(ValueError, match="no log density"):
            found.logpdf(ROWS[:5])
        return
    np.testing.assert_array_equal(at.logpdf, found.logpdf(ROWS[:5]))
    if kind == "score":  # of one energy, logpdf + energy is the constant log Z: both are per unit of x
        assert np.ptp(at.logpdf + at.energy) < 1e-10


@pytest.mark.parametrize("kind", ["density", "ladder", "score"])
def test_samples_are_those_of_the_command_and_of_draw(kind, tmp_path, capsys):
    from numpyscore.cli import main
    from numpyscore.learning.fit import write_results

    found = asked(kind)
    write_results(str(tmp_path), found)
    assert main(["sample", str(tmp_path / "model.npz"), "-n", "4", "--seed", "3"]) == 0
    printed = np.array([list(map(float, line.split(","))) for line in capsys.readouterr().out.splitlines()[1:]])
    drawn = draw(found, 4, rng=3)
    np.testing.assert_array_equal(found.sample(4, rng=3), printed)
    np.testing.assert_array_equal(drawn.samples, printed)
    assert drawn.method == {"density": "flow", "ladder": "annealed", "score": "tempered"}[kind]


def test_rows_of_a_data_frame_are_found_by_the_names_of_its_columns():
    found = fit(Frame(first=ROWS[:, 0], second=ROWS[:, 1]), **QUICK)
    assert found.units.columns == ("first", "second") and "(first, second)" in repr(found)
    turned = Frame(second=ROWS[:3, 1], other=np.zeros(3), first=ROWS[:3, 0])
    np.testing.assert_array_equal(found.score(turned), found.score(ROWS[:3]))
    with pytest.raises(ValueError, match="no column second"):
        found.logpdf(Frame(first=ROWS[:3, 0]))


def test_a_fit_says_what_it_is_in_three_lines():
    found = asked("density")
    lines = repr(found).splitlines()
    assert len(lines) == 3 and len(repr(found)) < 500
    assert "40 rows x 2 columns (x1, x2)" in lines[0] and "log-likelihood held out" in lines[1]
    assert ".score(x)" in lines[2] and "units of the data" in lines[2]
    assert found._repr_html_().startswith("<div><b>Fit of 40 rows")
    assert "exact implicit loss of clean rows" in repr(asked("score"))


@pytest.mark.parametrize(
    "name, said",
    [
        ("score_samples", r"here it is \.logpdf\(x\)"),
        ("rvs", r"here it is \.sample\(n, rng=seed\)"),
        ("log_prob", r"here it is \.logpdf"),
        ("transform", r"units\.to_standard"),
        ("samlpe", "did you mean sample"),
    ],
)
def test_habits_of_other_libraries_get_the_right_name(name, said):
    with pytest.raises(AttributeError, match=said):
        getattr(asked("score"), name)
    assert not hasattr(asked("score"), "nothing of the kind")


def test_chains_that_stand_still_are_no_samples_without_a_word():
    """Steps of 100 in standardised units: no proposal is accepted, and what comes out are the starts."""
    found = asked("score")
    drawn = draw(found, 5, method="langevin", step=100.0, n_steps=3, rng=0)
    assert drawn.stuck and "hardly more than the starts" in drawn.note
    found = type(found)(*found)
    found.draw = lambda n, rng: drawn
    with pytest.warns(UserWarning, match="hardly more than the starts"):
        found.sample(5, rng=0)


# ------------------------------------------------------------------------------- words for losses that mislead


def test_a_loss_that_falls_as_one_over_sigma_squared_is_said_to():
    """Losses of an implicit fit at 0.8 ... 0.07, as measured: of rows on a line, on a grid, of Old Faithful and of a Gaussian."""
    sigmas = np.geomspace(0.8, 0.07, 7)
    losses = {
        "line": [-2.33, -4.86, -9.86, -21.79, -47.76, -104.88, -225.02],
        "grid": [-0.79, -1.11, -1.58, -2.07, -2.78, -5.30, -16.08],
        "Old Faithful": [-2.18, -3.94, -5.75, -7.51, -8.79, -9.53, -9.77],
        "Gaussian": [-0.85, -0.97, -1.02, -1.00, -0.93, -0.71, -0.20],
    }
    said = {
        name: _sharpness([{"sigma": s, "held_out": v} for s, v in zip(sigmas, values, strict=True)])
        for name, values in losses.items()
    }
    assert "not how well" in said["line"][0] and "1/sigma^1.9" in said["line"][0] and said["grid"]
    assert said["Old Faithful"] == said["Gaussian"] == []


def test_denoising_with_too_little_noise_is_told_that_it_learned_nothing(monkeypatch):
    monkeypatch.setattr("numpyscore.learning.task.SMALL", 100)  # one training, not sixteen
    rows = np.random.default_rng(0).standard_normal((300, 2)) @ [
        [1.0, 0.99],
        [0.0, 0.1],
    ]  # of two columns one is thin: a Gaussian knows
    little, enough = (fit(rows, objective="denoising", sigma=s, steps=30, model=SMALL).summary for s in (1e-3, 0.5))
    words = "at sigma = 0.001 the denoising loss is 1/(2 sigma^2) = 5e+05 a column, whatever the network says"
    assert any(words in note for note in little["notes"])
    assert not any("denoising loss" in note for note in enough["notes"])


def test_the_rows_that_report_a_likelihood_are_of_the_whole_table(monkeypatch):
    """A table in order of time: its first rows would be all of one kind. At most WEIGHED of them, drawn from all."""
    monkeypatch.setattr("numpyscore.learning.task.SMALL", 100)
    monkeypatch.setattr("numpyscore.learning.task.WEIGHED", 20)
    rows = np.column_stack([np.arange(400.0), np.random.default_rng(0).standard_normal(400)])
    task = Task(rows, "multilevel_denoising", "auto", LEVELS, 0, "adam", 6, 256, 0.01)
    state = task.start()
    while state.run < task.split.runs:
        state = task.next(state)
    weighed, log_p, _ = task.log_likelihoods(state)
    assert len(weighed) == len(log_p) == 20 and set(weighed) <= set(task.split.report)
    assert weighed.max() > 300  # the chance that 20 of 60 miss the last quarter is .75^20 = .003


def test_the_time_is_told_before_the_first_step_and_changes_no_bit(tmp_path, monkeypatch):
    """With a clock by which each part takes a second: 11 trainings of 8 steps, a snapshot each, and 250 evaluations of the flow."""
    task = Task(ROWS, "multilevel_denoising", "auto", LEVELS, 0, "adam", 8, 256, 0.01)
    ticks = iter(range(10**6))
    monkeypatch.setattr("numpyscore.learning.task.time.perf_counter", lambda: next(ticks))
    told = task.expected(task.start())
    n, levels = len(ROWS), len(task.leasts)
    assert told == pytest.approx(11 * 8 * (1 + 1) + 250 * levels * n / n)
    half = task.start()._replace(run=3)
    assert task.expected(half) == pytest.approx(8 * 8 * 2 + 250 * levels)
    assert Task(ROWS, "implicit", 0.3, SMALL, 0, "lbfgs", 8, None, None).expected(None) is None
    said, options = [], {"model": LEVELS, "steps": 8, "sigma": [2.0, 0.5]}
    loud = fit(ROWS, announce=lambda *words: said.append(words), **options)
    assert said[0][1] == "11 trainings of 8 steps, and likelihoods" and len(said) == 1
    assert loud.model.theta.tobytes() == fit(ROWS, **options).model.theta.tobytes()


def two_sample(a, b, rng):
    """The share of pooled rows most of whose five nearest neighbours are of their own set, 1/2 of equal laws, and its p by 199 relabellings.

    Lopez-Paz & Oquab (2017), ICLR, arXiv:1610.06545, with nearest neighbours for a classifier.
    """
    from scipy.spatial import cKDTree

    z, own = np.vstack([a, b]), np.repeat([0, 1], [len(a), len(b)])
    near = cKDTree(z / z.std(0)).query(z / z.std(0), k=6)[1][:, 1:]
    share = lambda labels: np.mean((labels[near].mean(1) > 0.5) == labels)
    found = share(own)
    return found, (1 + sum(share(rng.permutation(own)) >= found for _ in range(199))) / 200


def test_the_two_sample_test_tells_what_differs_from_what_does_not():
    a, b, c = np.random.default_rng(0).standard_normal((3, 300, 2))
    assert (
        two_sample(a, b, np.random.default_rng(1))[1]
        > 0.01
        == 2 * two_sample(a, 1.5 * c + 0.5, np.random.default_rng(1))[1]
    )


@nightly
@pytest.mark.parametrize(
    ("rows", "near", "share"),
    [(old_faithful, 0.05, None), (song_ermon_mixture, 0.05, 0.54), (eight_gaussians, 0.12, 0.54), (two_moons, 0.1, 0.54)],
    ids=["Old Faithful", "Song and Ermon", "eight Gaussians", "two moons"],
)  # fmt: skip
def test_known_sets_are_learned_near_the_best_of_three_baselines_and_their_samples_are_like_fresh_rows(
    rows, near, share
):
    """Nats a row below the best baseline, measured -.02, .01, .07 and less on two moons; a classifier tells samples from fresh rows by
    little more than chance, whose standard error on 2000 of them is .011."""
    x = rows() if share is None else rows(2000, rng=0)
    result = fit(x)
    assert result.summary["log_likelihood"]["difference"]["mean"] > -near
    if share is not None:
        found, _ = two_sample(rows(1000, rng=1), result.sample(1000, rng=2), np.random.default_rng(3))
        assert found < share
    if rows is song_ermon_mixture:  # the weight of the mode: the rows' own, .2095, and 4 standard errors of 2000 draws
        assert abs(np.mean(result.sample(2000, rng=0).sum(1) < 0) - np.mean(x.sum(1) < 0)) < 4 * math.sqrt(0.16 / 2000)


# ------------------------------------------------------------------------------- cells far away


def test_what_is_far_is_drawn_in_and_the_units_know_by_how_much(tmp_path):
    """Score and trace by differences of the energy in the units of the data, the volume by a Gaussian's change of variables, and back."""
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.standard_cauchy(80) * 5 + 2, rng.standard_normal(80)]) @ [[1.0, 0.3], [0.0, 1.0]]
    model = EnergyMLP.init(2, (6,), "silu", confinement=1.0, conditional=True, rng=0)
    result = fit(rows, model=model, steps=8, out=tmp_path, robust=True)
    units, told = result.units, {"sigma": 0.5}
    far = np.ptp((rows - units.mean) / units.scale, axis=0), np.ptp(units.to_standard(rows), axis=0)
    assert units.tail == 1 and far[0].min() > 20 and far[1].max() < 10, far
    np.testing.assert_allclose(units.to_data(units.to_standard(rows)), rows, rtol=1e-9, atol=1e-12)
    _, saved = load_fitted(tmp_path / "model.npz")
    assert saved.tail == units.tail and type(units).from_dict(json.loads(json.dumps(units.to_dict()))).tail == 1
    at = np.vstack([rows[:3], rows[np.argmax(np.abs(rows[:, 0]))]])
    f = lambda x: units.energy(result.model, x, **told)
    slope, bend = np.zeros((4, 2)), np.zeros(4)
    for i in range(2):
        h = 1e-3 * np.hypot(units.scale[i], at[:, i] - units.mean[i])  # (4,), a thousandth of where the slope changes
        e = h[:, None] * np.eye(2)[i]
        slope[:, i] = (8 * (f(at + e) - f(at - e)) - (f(at + 2 * e) - f(at - 2 * e))) / (12 * h)
        bend += (16 * (f(at + e) + f(at - e)) - (f(at + 2 * e) + f(at - 2 * e)) - 30 * f(at)) / (12 * h**2)
    # fourth order: truncation 1e-12; rounding of f ~ 10, eps f / h relative to f / 1
    np.testing.assert_allclose(units.score(result.model, at, **told), -slope, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(units.trace(result.model, at, **told), -bend, rtol=1e-5, atol=1e-8)
    # the density of the data's units integrates to one: a Gaussian in z, on a grid of y = sinh(w)
    one = units._replace(mean=units.mean[:1], scale=units.scale[:1], mix=np.array([[0.7]]), columns=("a",))
    w = np.linspace(-12, 12, 4001)[:, None]
    x = one.to_data(w)
    p = np.exp(Gaussian(np.zeros(1), np.eye(1)).logpdf(one.to_standard(x)) - one.log_volume(one.to_standard(x)))
    assert np.trapezoid(p, x[:, 0]) == pytest.approx(1, abs=1e-5)


@nightly
def test_a_column_of_cauchy_rows_is_learned_where_cells_are_drawn_in():
    """Entropy log 4 pi of the one, log(2 pi e) / 2 of the other: the truth has -3.95 nats a row, a kernel density in the same units -4.03."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((300, 2))
    rows[:, 0] = rng.standard_cauchy(300)
    truth = -(math.log(4 * math.pi) + 0.5 * math.log(2 * math.pi * math.e))
    found = fit(rows, robust=True).summary["log_likelihood"]["network"]
    assert found["mean"] > truth - 0.25, found


@pytest.mark.parametrize("tail", [0.0, np.nan, np.ones(2), np.array(1)])
def test_a_wrong_tail_is_one_value_error(tail, tmp_path):
    model = EnergyMLP.init(2, (6,), "silu", confinement=1.0, conditional=True, rng=0)
    fit(ROWS, model=model, steps=8, out=tmp_path, robust=True)
    with np.load(tmp_path / "model.npz") as file:
        data = dict(file) | {"data_tail": np.asarray(tail)}
    write_npz(tmp_path / "model.npz", data)
    with pytest.raises(ValueError, match="tail that is no positive number"):
        load_fitted(tmp_path / "model.npz")
