"""The tests on all cores: forks of the collected session take one test file after the other and hand their reports to the first.

Nothing is asked of the tests but what pytest asks of them anyway: files are independent of each other. A run of one file or of few
tests, one that stops at the first failure, and one under a debugger stay in one process, as does any where there is no fork.
"""

import itertools
import os
import pickle
import select
import struct
import sys

import pytest

MANY = 200  # tests from which further processes pay
FIRST = (
    "test_derivations",
    "test_fit",
    "test_learned_weights",
    "test_report",
)  # the longest files; the others by their number of tests
RECORD = struct.Struct("i")  # a file's number in the queue; a read of one is atomic


def processes(session):
    """How many to use: NUMPYSCORE_TEST_PROCESSES, or as many as there are cores."""
    option = session.config.option
    alone = option.usepdb or option.maxfail or option.collectonly or not hasattr(os, "fork")
    if alone or len(session.items) < MANY:
        return 1
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(os.environ.get("NUMPYSCORE_TEST_PROCESSES", here))


def run(session):
    """Every collected test once; what `pytest_runtestloop` does, by several processes. False where one should do it."""
    number = processes(session)
    if number < 2 or session.testsfailed:
        return False
    files = [list(items) for _, items in itertools.groupby(session.items, key=lambda item: item.path)]
    order = sorted(range(len(files)), key=lambda i: (files[i][0].path.stem not in FIRST, -len(files[i])))
    take, put = os.pipe()
    os.write(put, b"".join(map(RECORD.pack, order)))  # less than a pipe holds
    os.close(put)
    sys.stdout.flush()
    sys.stderr.flush()
    forks = dict(fork(session, files, take) for _ in range(number - 1))
    try:
        for _ in work(session, files, take):
            collect(session, forks, wait=0)
        while forks:
            collect(session, forks, wait=None)
    finally:
        for _, child in forks.values():
            os.kill(child, 15)
    return True


def work(session, files, take):
    """Run file after file as the queue gives them; stops after each test."""
    while record := os.read(take, RECORD.size):
        items = files[RECORD.unpack(record)[0]]
        for item, after in itertools.zip_longest(items, items[1:]):
            session.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
            yield


def fork(session, files, take):
    """A further process at work: (its pipe, (what has come of a message, its number))."""
    listen, tell = os.pipe()
    child = os.fork()
    if child:
        os.close(tell)
        return listen, [b"", child]
    status, hook = 1, session.config.hook
    try:
        reporter = session.config.pluginmanager.unregister(name="terminalreporter")  # the first process writes
        out = os.fdopen(tell, "wb")

        class Tell:
            @pytest.hookimpl
            def pytest_runtest_logreport(self, report):
                data = pickle.dumps(hook.pytest_report_to_serializable(config=session.config, report=report))
                out.write(RECORD.pack(len(data)) + data)
                out.flush()

        session.config.pluginmanager.register(Tell())
        for _ in work(session, files, take):
            pass
        out.write(RECORD.pack(0))
        out.close()
        status = 0 if reporter is not None else 1
    finally:
        os._exit(status)


def collect(session, forks, wait):
    """Pass on the reports that have come from the other processes; with wait=None at least one piece of one."""
    for listen in select.select(list(forks), [], [], wait)[0]:
        data, child = forks[listen]
        piece = os.read(listen, 1 << 16)
        data += piece
        done = False
        while len(data) >= RECORD.size and len(data) >= RECORD.size + RECORD.unpack_from(data)[0]:
            (size,) = RECORD.unpack_from(data)
            body, data = data[RECORD.size : RECORD.size + size], data[RECORD.size + size :]
            if size == 0:
                done = True
                continue
            hook = session.config.hook
            report = hook.pytest_report_from_serializable(config=session.config, data=pickle.loads(body))
            hook.pytest_runtest_logreport(report=report)
        forks[listen][0] = data
        if done or not piece:
            os.close(listen)
            del forks[listen]
            _, status = os.waitpid(child, 0)
            if not done or status:
                raise session.Failed(f"a test process ended before its work was done (status {status})")
