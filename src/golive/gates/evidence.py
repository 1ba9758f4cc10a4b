"""
A run of gates as an evidence bundle: the report in three shapes, each gate's evidence, and what it was judged by.

Anybody checks it years later with ``golive verify FILE``, offline. The format is :mod:`golive.bundle`'s.
"""

from __future__ import annotations

import json
import platform
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from golive.bundle import write_bundle
from golive.gates.report import Report
from golive.gates.reports import FORMATS
from golive.timing import format_instant
from golive.version import __version__


def write_evidence(path: Path, report: Report, extra: Mapping[str, str], service: str = "") -> str:
    """
    Write *report* and *extra* files (settings without secrets, attestations, a metrics page) to the bundle *path*.

    Returns: its digest.
    Raises: StateError when it cannot be written; UsageError when it would be too large.
    """
    files = {"report.json": FORMATS["json"](report), "report.html": FORMATS["html"](report),
             "report.txt": FORMATS["text"](report) + "\n"}  # fmt: skip
    for result in report.results:
        evidence = {"gate": result.gate, "verdict": str(result.outcome.verdict), "sentence": result.outcome.sentence,
                    "seconds": round(result.seconds, 3), "evidence": dict(result.outcome.evidence)}  # fmt: skip
        name = re.sub(r"[^A-Za-z0-9_-]", "-", result.gate)
        files[f"gates/{name}.json"] = json.dumps(evidence, indent=1, default=str, ensure_ascii=False)
    files["machine.json"] = json.dumps(
        {"golive": __version__, "python": sys.version.split()[0], "platform": platform.platform()}, indent=1
    )
    meta = {
        "kind": "gates", "verdict": report.verdict, "sentence": report.sentence[:2000], "service": service,
        "url": report.url, "environment": report.environment, "commit": report.commit, "version": report.version,
        "started_at": format_instant(report.started_at), "golive": __version__,
    }  # fmt: skip
    return write_bundle(path, {**files, **extra}, meta)
