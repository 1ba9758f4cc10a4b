"""
For code scanning: SARIF 2.1.0. Every gate is a rule; those that did not pass are results, with files where there are
any.
"""

from __future__ import annotations

import json
from typing import Any

from golive.gates.outcome import Verdict
from golive.gates.registry import catalogue
from golive.gates.report import Report, Result
from golive.version import __version__

_LEVELS = {Verdict.FAIL: "error", Verdict.UNAVAILABLE: "error", Verdict.WAIVED: "note"}


def render(report: Report) -> str:
    """One run. A gate whose evidence has ``findings`` (file, line, text) gets one result per finding."""
    known = catalogue()
    rules = [
        {
            "id": result.gate,
            "shortDescription": {"text": known[result.gate].proves if result.gate in known else result.gate},
        }
        for result in report.results
    ]
    results = [entry for result in report.results if result.outcome.verdict in _LEVELS for entry in _entries(result)]
    document = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "golive", "version": __version__, "rules": rules}},
                "results": results,
                "properties": {"verdict": report.verdict, "url": report.url},
            }
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False, default=str)


def _entries(result: Result) -> list[dict[str, Any]]:
    level = _LEVELS[result.outcome.verdict]
    base = {"ruleId": result.gate, "level": level, "message": {"text": result.outcome.sentence}}
    findings = result.outcome.evidence.get("findings") or []
    if not findings:
        return [base]
    return [
        {**base, "message": {"text": found["text"]}, "locations": [_location(found["file"], found["line"])]}
        for found in findings
    ]


def _location(file: str, line: int) -> dict[str, Any]:
    return {"physicalLocation": {"artifactLocation": {"uri": file}, "region": {"startLine": max(line, 1)}}}
