"""`make test` passes --require-lava: Lava must work, and no test is skipped but for what a stranger cannot have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

OPTION = "--require-lava"
EXCUSES = ("NEURODEPLOY_CASES", "NEURODEPLOY_DATA", "MNIST", "no wheel", "Chromium", "lava-dl is not installed")
"""A reason to skip that names one of these is about files, a machine or an oracle that a stranger need not have."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(OPTION, action="store_true", help="fail what would be skipped")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption(OPTION):
        from neurodeploy.backends.loihi2.lava_compat import availability

        missing = availability()
        if missing is not None:
            raise pytest.UsageError(f"{OPTION}: {missing}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[Any]:
    report = yield
    return failed_if_skipped(report, item.config)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[Any]:
    report = yield
    return failed_if_skipped(report, collector.config)


def failed_if_skipped(report: Any, config: pytest.Config) -> Any:
    """Turn a skip into a failure, unless it is excused."""
    excused = any(name in str(report.longrepr) for name in EXCUSES) or hasattr(report, "wasxfail")
    if config.getoption(OPTION) and report.skipped and not excused:
        report.outcome, report.longrepr = "failed", f"skipped under {OPTION}: {report.longrepr}"
    return report
