"""Each test's outcome as a line that tests/run.sh counts."""

from __future__ import annotations

import os

import pytest
from pytest import TerminalReporter

ASKED_FOR = {"long": "CAIRN_LONG", "readers": "CAIRN_READERS"}  # by mark: the variable with which make proof asks for its tests


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: a kind of what a shorter test shows, too: run by make proof (CAIRN_LONG=1)")
    config.addinivalue_line("markers", "readers: needs the packages of requirements-readers.txt: run by make proof (CAIRN_READERS=1)")


def left_out(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(mark) and not os.environ.get(variable) for mark, variable in ASKED_FOR.items())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What make proof asks for is left to it, unless it is asked for by name."""
    if any("::" in argument for argument in config.args):
        return
    config.hook.pytest_deselected(items=[item for item in items if left_out(item)])
    items[:] = [item for item in items if not left_out(item)]


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """At the end, for output of tests is caught until then."""
    words = {"passed": "ok", "failed": "not ok", "error": "not ok", "skipped": "skip", "xfailed": "skip", "xpassed": "not ok"}
    for outcome, word in words.items():
        for report in terminalreporter.stats.get(outcome, ()):
            why = f": {report.longrepr[2]}" if word == "skip" and isinstance(report.longrepr, tuple) else ""
            terminalreporter.write_line(f"{word} - python: {report.nodeid}{why}")
