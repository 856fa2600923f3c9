"""Kills, a full disk, a folder that may not be written, two fits in one folder, eight threads, and what of the bits depends on the machine."""

import contextlib
import hashlib
import io
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import numpyscore as ns
from numpyscore.learning import checkpoints

KILLS = 200
OFTEN = 0.02  # seconds between checkpoints
ROWS = ns.GaussianMixture([0.4, 0.6], [[-2.0, 0.0], [2.0, 1.0]], 0.3).sample(60, rng=0)
MODEL = ns.EnergyMLP.init(2, (6,), "silu", rng=0)
FIT = {"objective": "implicit", "sigma": 0.3, "steps": 12, "model": MODEL}
NOBODY = 65534


def child(work):
    """Its number; a fork that does `work` in silence and ends with 0, or with 1 where that raises OSError."""
    number = os.fork()
    if number:
        return number
    status = 2
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        try:
            work()
            status = 0
        except OSError:
            status = 1
    finally:
        os._exit(status)


def ended(number):
    """How a child ended: its exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


# ------------------------------------------------------------------------------- kills


def kills(number, seed, folder):
    """(kills, fits that came to their end, those of them whose network has not the bits of an undisturbed fit)."""
    rng, done, fits, wrong = random.Random(seed), 0, 0, 0
    checkpoints.SECONDS = OFTEN
    while done < number:
        seed_of_fit = fits % 3
        whole = ns.fit(ROWS, rng=seed_of_fit, **FIT).model.theta.tobytes()
        started = time.monotonic()
        ns.fit(ROWS, rng=seed_of_fit, out=Path(folder) / f"whole{fits}", **FIT)
        takes = time.monotonic() - started
        out = Path(folder) / f"killed{fits}"
        while True:
            number_of = child(lambda out=out, rng=seed_of_fit: ns.fit(ROWS, rng=rng, out=out, resume=True, **FIT))
            if done < number:
                time.sleep(rng.uniform(0, 0.5 * takes))
                os.kill(number_of, signal.SIGKILL)
                done += 1
            status = ended(number_of)
            if status == 0:
                break
            if status != -signal.SIGKILL:
                wrong += 1
                break
        fits += 1
        with contextlib.suppress(ValueError, OSError):
            wrong += ns.load(out / "model.npz").theta.tobytes() != whole
            continue
        wrong += 1
    return done, fits, wrong


# ------------------------------------------------------------------------------- disks


def writers(folder):
    """{name: what writes a file or folder beneath `folder`}."""
    from numpyscore.cli import main

    def command(*words):
        def run():
            if code := main([str(w) for w in words]):
                raise OSError(f"exit {code}")

        return run

    table = Path(folder).parent / "rows.csv"
    np.savetxt(table, ROWS, delimiter=",", header="a,b", comments="")
    model = Path(folder).parent / "model.npz"
    MODEL.save(model)
    big = ns.EnergyMLP.init(2, (40, 40), rng=0)
    return {
        "model.save": lambda: big.save(Path(folder) / "a.npz"),
        "fit": command("fit", table, "--objective", "implicit", "--sigma", "0.3", "--steps", "3", "--out", Path(folder) / "fit"),
        "sample": command("sample", model, "-n", "200", "--out", Path(folder) / "a.csv"),
        "evaluate": command("evaluate", model, table, "--out", Path(folder) / "b.csv"),
        "golden": command("golden", "--out", Path(folder) / "golden"),
        "learn start": command("learn", "start", Path(folder) / "course"),
        "explore": command("explore", "--out", Path(folder) / "a.html"),
    }  # fmt: skip


def disks(folder):
    """{what: (writers, those that ended otherwise than by one error and no torn file)} for a full disk and a folder that may not be written."""
    faults, loaded = {"a full disk": [], "a read-only folder": []}, Path(folder) / "loaded"
    loaded.mkdir()
    names = list(writers(loaded))
    for run in writers(loaded).values():  # once as they are: another user may not read the modules that they import
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            run()
    for what, found in faults.items():
        for name in names:
            out = Path(folder) / f"{what} {name}".replace(" ", "_")
            out.mkdir()

            def work(name=name, what=what, out=out):
                run = writers(out)[name]
                if what == "a full disk":
                    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
                elif os.geteuid() == 0:
                    os.setgroups([])
                    os.setuid(NOBODY)
                run()

            if what == "a read-only folder":
                out.chmod(0o555)
            status = ended(child(work))
            left = [p for p in out.rglob("*") if p.is_file() and p.stat().st_size == 1000]
            if status != 1 or left:
                found.append(f"{name} (ended with {status}, {len(left)} torn files)")
            out.chmod(0o755)
    return {what: (len(names), found) for what, found in faults.items()}


def two_fits(folder):
    """How two fits of different seeds at once in one folder end: both statuses, and whether what is there is one of the two."""
    checkpoints.SECONDS = OFTEN
    out = Path(folder) / "both"
    each = [ns.fit(ROWS, rng=seed, **FIT).model.theta.tobytes() for seed in (1, 2)]
    children = [child(lambda seed=seed: ns.fit(ROWS, rng=seed, out=out, **FIT)) for seed in (1, 2)]
    statuses = sorted(map(ended, children))
    try:
        whole = ns.load(out / "model.npz").theta.tobytes() in each
    except (ValueError, OSError):
        whole = False
    return statuses, whole and statuses in ([0, 0], [0, 1])


# ------------------------------------------------------------------------------- bits

QUESTIONS = """
import sys
sys.path.insert(0, {here!r})
from interrupted import bits
print(bits(), bits(((300, (128,), 400),)))
"""


NOTE = (
    "A product that is the work of one thread alone, such as those of a single batch of a network 128 wide in 300 dimensions, is left whole to "
    "BLAS, which deals it to threads of its own and may round its last bits otherwise on another number of them."
)


def bits(shapes=((3, (5, 4), 7), (40, (64, 64), 3000))):
    """SHA-256 of scores, traces, gradients, samples and a fit: a small batch, and a large one that is dealt to threads."""
    total = hashlib.sha256()
    for cls in (ns.EnergyMLP, ns.ScoreMLP):
        for d, widths, n in shapes:
            rng = np.random.default_rng(0)
            model, x = cls.init(d, widths, "silu", rng=rng), rng.standard_normal((n, d))
            found = [
                model.score(x),
                model.trace(x),
                ns.implicit(model, x).gradient,
                ns.sliced(model, x, rng=0).gradient,
            ]
            found.append(ns.denoising(model, x, 0.5, rng=0).gradient)
            for a in found:
                total.update(np.ascontiguousarray(a).tobytes())
    start = np.zeros((50, 2))
    total.update(ns.langevin(MODEL, start, 0.01, 20, rng=0).samples.tobytes())
    total.update(ns.fit(ROWS, rng=0, **FIT).model.theta.tobytes())
    return total.hexdigest()


def settings(seeds=(0, 1, 12345), threads=(1, 2, 4, 8)):
    """{(threads, hash seed): bits} in processes of their own."""
    here = str(Path(__file__).resolve().parent)
    out = {}
    for t in threads:
        for s in seeds if t == threads[0] else seeds[:1]:
            environment = os.environ | {
                "OPENBLAS_NUM_THREADS": str(t),
                "OMP_NUM_THREADS": str(t),
                "PYTHONHASHSEED": str(s),
            }
            done = subprocess.run(
                [sys.executable, "-c", QUESTIONS.format(here=here)], env=environment, capture_output=True, text=True
            )
            out[t, s] = done.stdout.strip() or done.stderr[-300:]
    return out


def shared(threads=8):
    """Whether `threads` threads that use one network at once get the bits that they get alone."""
    rng = np.random.default_rng(0)
    model = ns.EnergyMLP.init(20, (32, 32), "tanh", rng=rng)
    parts = rng.standard_normal((threads, 200, 20))
    ask = lambda x: (ns.implicit(model, x).gradient.tobytes(), model.trace(x).tobytes(), model.score(x).tobytes())
    alone = [ask(x) for x in parts]
    with ThreadPoolExecutor(threads) as pool:
        return all(list(pool.map(ask, parts)) == alone for _ in range(5))


def report(args):
    """Rows of the table."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        done, fits, wrong = kills(max(10, round(KILLS * args.share)), args.seed, folder)
        rows = [(f"{done} kills of fits, then resumed", "0 other bits", f"{wrong} of {fits} fits")]
        for what, (n, found) in disks(folder).items():
            rows.append(
                (
                    f"{what}: writers that leave a torn file or no error",
                    "0",
                    f"{len(found)} of {n}" + "".join(f"; {f}" for f in found),
                )
            )
        statuses, good = two_fits(folder)
        rows.append(
            (
                "two fits at once in one folder",
                "one of the two, whole",
                f"{'yes' if good else 'NO'}, ended with {statuses}",
            )
        )
    rows.append(("eight threads, one network", "the bits of one", "the same" if shared() else "OTHERS"))
    found = settings(threads=(1, 2, 8) if args.share < 1 else (1, 2, 4, 8))
    pairs = {k: (both.split() * 2)[:2] for k, both in found.items()}
    kinds, wide = (len({both[k] for both in pairs.values()}) for k in (0, 1))
    rows.append(
        (
            "OPENBLAS_NUM_THREADS 1 to 8, PYTHONHASHSEED 0, 1, 12345",
            "one set of bits",
            f"{kinds} from {len(found)} runs",
        )
    )
    seeds = {both[1] for (threads, _), both in pairs.items() if threads == 1}
    rows.append(("one batch of a wide network: on one thread, any PYTHONHASHSEED", "one set of bits", str(len(seeds))))
    rows.append(("the same on 1 to 8 threads", "see below", f"{wide} from {len(found)} runs"))
    return rows, "" if kinds == 1 else "\n".join(f"- {k}: {v[:300]}" for k, v in found.items())


if __name__ == "__main__":
    from types import SimpleNamespace

    begun = time.monotonic()
    print(*report(SimpleNamespace(share=float(sys.argv[1]), seed=0)), f"{time.monotonic() - begun:.1f} s", sep="\n")
