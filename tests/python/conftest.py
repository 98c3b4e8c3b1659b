"""Each test's outcome as a line that tests/run.sh counts."""

from __future__ import annotations

import os

import pytest
from pytest import TerminalReporter


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: a kind of what a shorter test shows, too: run by make proof (CAIRN_LONG=1)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long ones are left to make proof, unless they are asked for by name."""
    if os.environ.get("CAIRN_LONG") or any("::" in argument for argument in config.args):
        return
    config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("long")])
    items[:] = [item for item in items if not item.get_closest_marker("long")]


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """At the end, for output of tests is caught until then."""
    words = {"passed": "ok", "failed": "not ok", "error": "not ok", "skipped": "skip", "xfailed": "skip", "xpassed": "not ok"}
    for outcome, word in words.items():
        for report in terminalreporter.stats.get(outcome, ()):
            why = f": {report.longrepr[2]}" if word == "skip" and isinstance(report.longrepr, tuple) else ""
            terminalreporter.write_line(f"{word} - python: {report.nodeid}{why}")
