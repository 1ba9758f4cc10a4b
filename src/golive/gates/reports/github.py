"""For GitHub Actions: workflow commands, so that what is red shows on the run's first page."""

from __future__ import annotations

from golive.gates.outcome import Verdict
from golive.gates.report import Report
from golive.gates.reports import text

_LEVELS = {Verdict.FAIL: "error", Verdict.UNAVAILABLE: "error", Verdict.WAIVED: "warning"}


def render(report: Report) -> str:
    """Annotations first, then the text report."""
    commands = [
        f"::{_LEVELS[result.outcome.verdict]} title={_property(f'golive {result.gate}')}::"
        f"{_data(f'{result.outcome.verdict}: {result.outcome.sentence}')}"
        for result in report.results
        if result.outcome.verdict in _LEVELS
    ]
    return "\n".join([*commands, _data_lines(text.render(report))])


def _data(value: str) -> str:
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")


def _data_lines(value: str) -> str:
    """What a service answered must not become a workflow command of its own."""
    return "\n".join(f" {line}" if line.startswith("::") else line for line in value.splitlines())
