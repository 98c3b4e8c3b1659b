"""Each test's outcome as a line that tests/run.sh counts."""

from __future__ import annotations

from pytest import TerminalReporter


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """At the end, for output of tests is caught until then."""
    words = {"passed": "ok", "failed": "not ok", "error": "not ok", "skipped": "skip", "xfailed": "skip", "xpassed": "not ok"}
    for outcome, word in words.items():
        for report in terminalreporter.stats.get(outcome, ()):
            why = f": {report.longrepr[2]}" if word == "skip" and isinstance(report.longrepr, tuple) else ""
            terminalreporter.write_line(f"{word} - python: {report.nodeid}{why}")
