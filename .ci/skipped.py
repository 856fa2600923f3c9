"""A pytest plugin: every skipped test and its reason, one a line with a tab between, into the file that NUMPYSCORE_SKIPPED names."""

import os

FIRST = os.getpid()  # forks hand their reports to the first process


def pytest_runtest_logreport(report):
    _note(report)


def pytest_collectreport(report):
    _note(report)


def _note(report):
    if report.skipped and not hasattr(report, "wasxfail") and os.getpid() == FIRST:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        with open(os.environ["NUMPYSCORE_SKIPPED"], "a", encoding="utf-8") as file:
            file.write(f"{report.nodeid}\t{' '.join(reason.split())}\n")
