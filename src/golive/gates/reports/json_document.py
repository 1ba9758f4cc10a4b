"""For programs: the report as one JSON document."""

from __future__ import annotations

import json

from golive.gates.report import Report


def render(report: Report) -> str:
    """Indented, keys in the order of the report."""
    return json.dumps(report.to_json(), indent=2, ensure_ascii=False, default=str)
