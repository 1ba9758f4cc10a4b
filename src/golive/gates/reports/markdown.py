"""For pull requests and release notes: a table, the verdict above it."""

from __future__ import annotations

from golive.gates.report import Report
from golive.timing import format_instant


def render(report: Report) -> str:
    """GitHub-flavoured Markdown."""
    rows = "\n".join(
        f"| {result.gate} | {result.outcome.verdict} | {result.seconds:.1f} s | {_cell(result.outcome.sentence)} |"
        for result in report.results
    )
    where = f" against `{report.url}`" if report.url else ""
    return (
        f"## {report.verdict}\n\n"
        f"{sum(result.good for result in report.results)} of {len(report.results)} gates{where}, "
        f"{format_instant(report.started_at)}, {report.seconds:.1f} s\n\n"
        f"| gate | verdict | time | why |\n| --- | --- | --- | --- |\n{rows}"
    )


def _cell(text: str) -> str:
    """One line, and nothing in it that a renderer would take for markup."""
    for character in "\\`*_[]|":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.replace("<", "&lt;").split())
