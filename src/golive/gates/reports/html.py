"""
For the release record: one self-contained page that prints well. No script, no request to anywhere, light and dark.
"""

from __future__ import annotations

import json
from html import escape

from golive.gates.report import Report, Result
from golive.timing import format_instant
from golive.version import __version__

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; padding: .5rem 0; }
th, td { text-align: left; vertical-align: top; padding: .45rem .75rem .45rem 0; border-top: 1px solid #8886; }
td.seconds { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.why { overflow-wrap: anywhere; }
strong.good { color: light-dark(#12703a, #6fd694); }
strong.bad { color: light-dark(#b3261e, #ff9a92); }
strong.waived { color: light-dark(#7a5200, #f0c060); }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .85rem; }
@media print { body { margin: 0; max-width: none; } tr { break-inside: avoid; } details { display: none; } }
"""
_CLASSES = {"PASS": "good", "WAIVED": "waived"}


def render(report: Report) -> str:
    """The whole page. Everything a service answered is escaped, and the page may load and run nothing."""
    rows = "\n".join(_row(result) for result in report.results)
    good = sum(result.good for result in report.results)
    facts = f"{good} of {len(report.results)} gates, {format_instant(report.started_at)}, {report.seconds:.1f} s"
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("Gate", "Verdict", "Time", "Why"))
    where = f" against {report.url}" if report.url else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{report.verdict}: golive check</title>
<style>{_STYLE}</style>
</head>
<body>
<h1><strong class="{"good" if report.go else "bad"}">{report.verdict}</strong></h1>
<table>
<caption>{escape(facts + where)}</caption>
<thead><tr>{heads}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
<p>golive {escape(__version__)}</p>
</body>
</html>"""


def _row(result: Result) -> str:
    outcome = result.outcome
    evidence = json.dumps(dict(outcome.evidence), indent=2, ensure_ascii=False, default=str)
    details = f"<details><summary>Evidence</summary><pre>{escape(evidence)}</pre></details>" if outcome.evidence else ""
    return (
        f'<tr><th scope="row">{escape(result.gate)}</th>'
        f'<td><strong class="{_CLASSES.get(outcome.verdict, "bad")}">{outcome.verdict}</strong></td>'
        f'<td class="seconds">{result.seconds:.1f} s</td>'
        f'<td class="why">{escape(outcome.sentence)}{details}</td></tr>'
    )
