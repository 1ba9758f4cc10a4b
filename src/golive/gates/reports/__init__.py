"""
A report in every shape somebody reads: a terminal, a program, a CI system. Pure: a report in, text out.

:data:`FORMATS` is the list; each format is one file with ``render(report) -> str``.
"""

from __future__ import annotations

from collections.abc import Callable

from golive.gates.report import Report
from golive.gates.reports import github, html, json_document, junit, markdown, sarif, text

FORMATS: dict[str, Callable[[Report], str]] = {
    "text": text.render,
    "json": json_document.render,
    "junit": junit.render,
    "markdown": markdown.render,
    "html": html.render,
    "sarif": sarif.render,
    "github": github.render,
}

__all__ = ["FORMATS"]
