"""The table as people write it in a runbook."""

from __future__ import annotations

from collections.abc import Mapping

from golive.slo.row import Row


def to_markdown(table: Mapping[str, Row]) -> str:
    """``| Metric | Target | Alert If |``, and Act If where a row has one; a phase that differs has its own line."""
    lines = [(label, row) for row in table.values() for label, row in _lines(row)]
    acts = any(row.act_if for _, row in lines)
    head = ["Metric", "Target", "Alert If"] + (["Act If"] if acts else [])
    body = [
        [label, str(row.target), str(row.alert_if or "–")] + ([str(row.act_if or "–")] if acts else [])
        for label, row in lines
    ]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in [head, ["---"] * len(head), *body])


def _lines(row: Row) -> list[tuple[str, Row]]:
    label = title(row)
    return [(label, row), *((f"{label} ({phase})", override) for phase, override in row.phases.items())]


def title(row: Row) -> str:
    """The row's name for a heading: ``submit_latency_p95`` is ``P95 Submit Latency``."""
    words = row.name.split("_")
    if row.quantile is not None:
        words = [words[-1], *words[:-1]]
    return " ".join(word.capitalize() for word in words)
