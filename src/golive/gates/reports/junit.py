"""For CI systems: JUnit XML. FAIL is a failure, UNAVAILABLE an error, WAIVED a test that passed with a note."""

from __future__ import annotations

import re
from xml.sax.saxutils import escape, quoteattr

from golive.gates.outcome import Verdict
from golive.gates.report import Report, Result
from golive.timing import format_instant

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # by XML 1.0, even escaped


def render(report: Report) -> str:
    """One test suite, one test case per gate."""
    counts = report.counts
    attributes = (
        f'name="golive check" tests="{len(report.results)}" failures="{counts[Verdict.FAIL]}" '
        f'errors="{counts[Verdict.UNAVAILABLE]}" time="{report.seconds:.3f}" '
        f'timestamp="{format_instant(report.started_at)}"'
    )
    cases = "\n".join(_case(result) for result in report.results)
    suite = f"<testsuites>\n<testsuite {attributes}>\n{cases}\n</testsuite>\n</testsuites>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{suite}'


def _case(result: Result) -> str:
    sentence = _FORBIDDEN.sub("\ufffd", result.outcome.sentence)
    inner = {
        Verdict.PASS: "",
        Verdict.FAIL: f"<failure message={quoteattr(sentence)}/>",
        Verdict.UNAVAILABLE: f"<error message={quoteattr(sentence)}/>",
        Verdict.WAIVED: f"<system-out>WAIVED {escape(sentence)}</system-out>",
    }[result.outcome.verdict]
    head = f'classname="golive.{result.phase}" name={quoteattr(result.gate)} time="{result.seconds:.3f}"'
    return f"<testcase {head}>{inner}</testcase>"
