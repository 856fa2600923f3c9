r"""Exact traces and implicit losses beside the peers that happen to be installed: ratios measured in one run.

A case is a tanh energy network and a batch, and its name says all of it: ``f32-d784-128x128x128-n128``. Each contender
lives in a process of its own and is told when to run, so that compilation is paid once and no two run at the same time;
they take turns, round after round, and medians over rounds are compared. Before that, every contender's numbers must
agree with those of `EnergyMLP.evaluate` and its pullback; if not, its row says "disagrees" and is not timed.

Our loss is timed in both orders in which it can be read: the gradient first ("loss + gradient"), and the value first, as
most people write it. Either visits each sample once, so that the two times should agree within the noise of the rounds.

Where d backward passes would take too long ("textbook", "torch"), the first k of the d basis vectors are timed and the
time is scaled by d/k; such a figure is marked "~". Nothing here needs a peer: a missing one is a line, not an error.
"""

import itertools
import json
import math
import os
import platform
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack, suppress
from importlib import metadata
from typing import Any

import numpy as np

from .contenders import CASES, OURS, PEERS, QUANTITIES, Case

NEEDS = {  # distributions, by their names on PyPI
    "jax": ("jax",),
    "folx": ("jax", "folx"),
    "torch": ("torch",),
    "torch.func": ("torch",),
    "jet": ("torch", "jet-for-pytorch"),
}
TOLERANCE = {"f32": 1e-3, "f64": 1e-9}  # of the largest entry
AHEAD = f" {'ours ahead':>12} {'memory':>10}"  # the head of what follows a time
TURN = 0.2  # seconds that one turn of a short contender lasts


# ------------------------------------------------------------------------------- our side of it


class _Process:
    """A contender's process: answers one request at a time, and once it is dead or late, always with the reason."""

    def __init__(self, build, case):
        code = "import sys; from numpyscore.vectors.contenders import worker; worker(*sys.argv[1:])"
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by __exit__)
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.errors}
        self.process: Any = subprocess.Popen([sys.executable, "-c", code, build, case.name], text=True, **pipes)
        self.lines: queue.Queue = queue.Queue()
        self.over: dict = {}
        self.reader = threading.Thread(target=self._listen, daemon=True)
        self.reader.start()

    def _listen(self):
        for line in self.process.stdout:
            self.lines.put(json.loads(line))
        self.lines.put(None)

    def ask(self, limit, *request):
        """The reply, a dict; with "status" and "reason" if there is none to be had within `limit` seconds."""
        if not self.over:
            with suppress(OSError):
                self.process.stdin.write(json.dumps(request) + "\n")
                self.process.stdin.flush()
            try:
                if (reply := self.lines.get(timeout=limit)) is not None:
                    return reply
                self.errors.seek(0)
                said = self.errors.read().strip().splitlines() or ["it said nothing"]
                reason = f"its process ended with code {self.process.wait()}: {said[-1]}"[:300]
            except queue.Empty:
                self.process.kill()
                reason = f"no answer within {limit:g} s"
            self.over = {"status": "failed", "reason": reason}
        return self.over

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.reader.join()
        with suppress(OSError), self.errors, self.process:  # closes them
            pass


def bench(
    cases=CASES, *, peers=None, rounds=5, quantities=tuple(QUANTITIES), limit=180.0, others=None, each=None, say=None
):
    """Measure cases: each contender in its own process, one at a time, in turn, round after round.

    Parameters
    ----------
    cases : sequence of Case or of names
    peers : sequence of str, optional
        Which of "jax", "folx", "torch", "torch.func", "jet"; all by default. One that is not installed becomes a note.
    rounds : int
    quantities : sequence of "trace", "loss", "value_first"
    limit : float
        Seconds to wait for an answer, the first one compiling.
    others : dict, optional
        More contenders: a name and "module:function", see `worker`.
    each : function of a case's record, optional
        Called as soon as the case is measured.
    say : function of str, optional
        Told what is going on.

    Returns
    -------
    record : dict
        Ready for JSON, schema "numpyscore-bench/1". Seconds, bytes, operations per second; a ratio is a contender's time
        over ours in the same round, and their median; that of "value_first" is over our "loss".

    Raises
    ------
    ValueError
        If a case or a peer is unknown, or there is nothing to measure.
    """
    cases = [case if isinstance(case, Case) else Case.named(case) for case in cases]
    wanted = tuple(PEERS if peers is None else peers)
    if unknown := [name for name in wanted if name not in PEERS]:
        raise ValueError(f"peer {unknown[0]!r} is unknown, expected some of {', '.join(PEERS)}")
    if rounds < 1 or not limit > 0:
        raise ValueError(f"rounds is {rounds} and limit {limit}, expected at least one round and a positive limit")
    builds, notes, versions = dict(OURS), [], {"numpy": np.__version__}
    for name in wanted:
        there = {package: _version(package) for package in NEEDS[name]}
        if missing := [package for package, version in there.items() if version is None]:
            notes.append(f"peer {name} is left out: {' and '.join(missing)} not installed")
        else:
            builds[name] = PEERS[name]
            versions |= there
    measured = []
    for case in cases:
        measured.append(_measure(case, builds | (others or {}), rounds, quantities, limit, say or (lambda _: None)))
        if each is not None:
            each(measured[-1])
    head: dict[str, Any] = {"schema": "numpyscore-bench/1", "rounds": rounds, "machine": _machine()}
    return head | {"versions": versions, "notes": notes, "cases": measured}


def _version(package):
    """Of an installed distribution; None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _machine():
    """Where the figures come from: what a reader needs to compare them with his own."""
    blas: Any = np.show_config(mode="dicts")
    blas = blas["Build Dependencies"]["blas"]
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "thread variables": {key: value for key, value in sorted(os.environ.items()) if key.endswith("_NUM_THREADS")},
        "blas": f"{blas.get('name')} {blas.get('version')}",
        "platform": platform.platform(),
        "python": platform.python_version(),
    }


def _measure(case, builds, rounds, quantities, limit, say):
    """A case's record."""
    rows: dict[tuple, dict[str, Any]] = {}
    with ExitStack() as stack:
        processes = {}
        for name, build in builds.items():
            say(f"{case.name}: {name}, first calls")
            process = processes[name] = stack.enter_context(_Process(build, case))
            started = process.ask(limit, "start")
            for quantity in quantities:
                if quantity in started.get("quantities", ("trace", "loss")):
                    row = {"contender": name, "quantity": quantity, "status": "ok", "reason": None, "rounds": []}
                    reply = started if "status" in started else process.ask(limit, "first", quantity)
                    rows[name, quantity] = row | {"scaled": started.get("scaled", 1.0)} | reply
            for row in (row for row in rows.values() if row["contender"] == name and row["status"] == "ok"):
                row |= process.ask(limit, "check", row["quantity"])  # last: it takes memory of its own
                if row["status"] == "ok" and row["gap"] > TOLERANCE[case.dtype]:
                    row["status"] = "disagrees"
                    row["reason"] = f"differs from ours by {row['gap']:.1e} of the largest entry"
        peaks, order = [], list(rows.values())
        for k in range(rounds):
            say(f"{case.name}: round {k + 1} of {rounds}")
            peaks.append(processes["exact"].ask(limit, "peak").get("peak", math.nan))
            for row in order[k % len(order) :] + order[: k % len(order)]:
                if row["status"] == "ok":
                    reply = processes[row["contender"]].ask(limit, "turn", row["quantity"], TURN)
                    row |= {key: reply[key] for key in reply.keys() - {"seconds"}}
                    row["rounds"].append(reply.get("seconds", math.nan) * row["scaled"])
    peak = statistics.median(peaks)
    best = {}
    for row in rows.values():
        row["rounds"] = row["rounds"] if row["status"] == "ok" else []
        row["seconds"] = statistics.median(row["rounds"]) if row["rounds"] else None
    for quantity in quantities:
        mine = rows.get(("exact", "loss" if quantity == "value_first" else quantity), {"seconds": None})
        timed = [row for row in rows.values() if row["quantity"] == quantity and row["seconds"]]
        if mine["seconds"]:
            mine["flops"] = sum(case.flops(mine["quantity"]).values())
            mine["share"] = mine["flops"] / mine["seconds"] / peak
            for row in timed:
                row["ratios"] = [a / b for a, b in zip(row["rounds"], mine["rounds"], strict=True)]
                row["ratio"] = statistics.median(row["ratios"])
            if peers := [row for row in timed if row["contender"] not in OURS]:
                fastest = min(peers, key=lambda row: row["seconds"])
                best[quantity] = {"peer": fastest["contender"], "ratio": fastest["ratio"], "ratios": fastest["ratios"]}
    head = {"case": case.name} | case._asdict() | {"gemm_peak": peak if math.isfinite(peak) else None}
    return head | {"rows": list(rows.values()), "best": best}


def curve(record):
    """Columns that a figure can draw: {"d": [...], contender: [seconds of one trace or None, ...], ...}."""
    times = [
        {r["contender"]: r["seconds"] for r in case["rows"] if r["quantity"] == "trace"} for case in record["cases"]
    ]
    names = dict.fromkeys(itertools.chain(*times))
    return {"d": [case["d"] for case in record["cases"]]} | {name: [t.get(name) for t in times] for name in names}


# ------------------------------------------------------------------------------- words


def table(case):
    """A case's record as text: a line for each contender, then the best peer."""
    peak = f"{case['gemm_peak'] / 1e9:.0f} GFLOP/s" if case["gemm_peak"] else "unknown"
    rows = {(row["contender"], row["quantity"]): row for row in case["rows"]}
    names, quantities = (dict.fromkeys(key) for key in zip(*rows, strict=True))
    lines = [f"{case['case']}   GEMM peak {peak}"]
    lines += [f"  {'':<10}" + "".join(_head(q) for q in quantities)]
    for name in names:
        lines.append(f"  {name:<10}" + "".join(_cell(rows.get((name, q)), q) for q in quantities).rstrip())
        for row in (rows[key] for key in rows if key[0] == name and rows[key]["reason"]):
            lines.append(f"    {QUANTITIES[row['quantity']]} {row['status']}: {row['reason']}")
    for quantity, best in case["best"].items():
        low, high = min(best["ratios"]), max(best["ratios"])
        what = f"the best peer, {best['peer']} ({low:.2f} to {high:.2f} over the rounds)"
        lines.append(f"  {QUANTITIES[quantity]}: {best['ratio']:.2f} x ahead of {what}")
    if ratios := rows.get(("exact", "value_first"), {}).get("ratios"):
        ratio, low, high = statistics.median(ratios), min(ratios), max(ratios)
        what = f"{QUANTITIES['loss']} ({low:.2f} to {high:.2f} over the rounds)"
        lines.append(f"  {QUANTITIES['value_first']}: {ratio:.2f} x the time of {what}")
    return "\n".join(lines)


def _head(quantity):
    """What stands above its cells."""
    return f" {QUANTITIES[quantity]:>20}" if quantity == "value_first" else f"{QUANTITIES[quantity]:>16}{AHEAD}"


def _cell(row, quantity):
    """Time, ratio (for ours the share of the peak) and memory of one row; the time alone of the loss read again."""
    if row is None or row["seconds"] is None:
        return f"{row['status'] if row else '':>16}" + " " * len(AHEAD)
    seconds = f"{'~' if row['scaled'] > 1 else ''}{row['seconds'] * 1e3:.4g} ms"
    if quantity == "value_first":
        return f" {seconds:>20}"
    ahead = f"{row['share']:.1%} peak" if "share" in row else f"{row['ratio']:.2f} x" if "ratio" in row else ""
    return f"{seconds:>16} {ahead:>12} {row['memory'] / 2**20:>6.0f} MiB"


def summary(record):
    """The ratios of all cases, then where and with what they were measured."""
    lines, machine = [], record["machine"]
    if any(case["best"] for case in record["cases"]):
        lines.append(f"  {'ours ahead of the best peer':<34} {'trace':>16} {'loss + gradient':>18}")
    for case in record["cases"] if lines else ():
        trace, loss = (
            f"{b['ratio']:.2f} x {b['peer']}" if b else "-" for b in map(case["best"].get, ("trace", "loss"))
        )
        lines.append(f"  {case['case']:<34} {trace:>16} {loss:>18}")
    lines += record["notes"]
    threads = ", ".join(f"{k}={v}" for k, v in machine["thread variables"].items()) or "no thread variables set"
    versions = ", ".join(f"{k} {v}" for k, v in record["versions"].items())
    lines.append(f"{record['rounds']} rounds; {machine['cores']} cores, {threads}; {versions}, BLAS {machine['blas']}")
    if any(row["scaled"] > 1 for case in record["cases"] for row in case["rows"]):
        lines.append("~ the first k of d backward passes, scaled by d/k; memory of the k passes")
    lines.append(
        "memory: peak of the second call above what was resident before the first, so what a library keeps counts"
    )
    return "\n".join(lines)
