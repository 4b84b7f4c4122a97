"""A pytest plugin: under TESTS_NO_SKIPS=1 a test is skipped for want of a machine only.

What a machine may lack is listed here. Any other skip means that something is not installed, and
what it would have shown goes unseen; that is a failure.
"""

import os
from collections.abc import Generator

import pytest

EXCUSES = (
    "CUDA device",
    "CUDA goes first",
    "set VISAGE_SLOW_TESTS=1",
    "as root",  # mounts, and namespaces of their own
    "kubectl",
    "only Linux",
    "this system has no",
)
"""Parts of reasons."""


def _failed_unless_excused(report: pytest.TestReport | pytest.CollectReport) -> None:
    # An expected failure is "skipped" too, and has no place and reason.
    if os.environ.get("TESTS_NO_SKIPS") != "1" or not isinstance(report.longrepr, tuple):
        return
    path, line, reason = report.longrepr
    if report.skipped and not any(excuse in reason for excuse in EXCUSES):
        report.outcome = "failed"
        report.longrepr = f"{path}:{line}: {reason}; tests/skips.py has no excuse for that"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _failed_unless_excused(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _failed_unless_excused(report)
    return report
