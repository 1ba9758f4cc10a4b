"""
For the release record: one self-contained page that prints well. No script, no request to anywhere, light and dark.

On paper the evidence of what did not pass is printed out, that of what passed is left to the bundle.
"""

from __future__ import annotations

import json
from html import escape

from golive.gates.gate import Phase
from golive.gates.outcome import Verdict
from golive.gates.report import Report, Result
from golive.gates.score import score_of
from golive.timing import format_instant
from golive.version import __version__

_EVIDENCE_MAX = 20_000  # characters shown of one gate's evidence; all of it is in the JSON report and in the bundle
_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; --line: #8884; --soft: #8881; }
* { box-sizing: border-box; }
body { max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
header { display: flex; flex-wrap: wrap; gap: .5rem 2rem; align-items: center; border-bottom: 2px solid; }
h1 { font-size: 2.6rem; margin: 0; letter-spacing: .02em; }
h2 { font-size: 1rem; margin: 1.6rem 0 .2rem; text-transform: capitalize; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr)); gap: .4rem 1.5rem;
     margin: 1rem 0 .2rem; }
p { margin: .3rem 0; overflow-wrap: anywhere; }
dt { font-size: .75rem; opacity: .7; } dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; table-layout: fixed; }
col.gate { width: 11rem; } col.verdict { width: 8.5rem; } col.seconds { width: 4.5rem; }
th, td { text-align: left; vertical-align: top; padding: .45rem .75rem .45rem 0; border-top: 1px solid var(--line); }
thead th { font-size: .75rem; opacity: .7; border: 0; padding-bottom: 0; }
th[scope=row] { font-weight: 600; overflow-wrap: anywhere; }
td.seconds { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.why { overflow-wrap: anywhere; }
strong.good { color: light-dark(#12703a, #6fd694); }
strong.bad { color: light-dark(#b3261e, #ff9a92); }
strong.waived { color: light-dark(#7a5200, #f0c060); }
details { margin-top: .3rem; } summary { cursor: pointer; font-size: .85rem; opacity: .8; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .8rem; background: var(--soft); padding: .5rem; }
footer { margin-top: 2rem; font-size: .8rem; opacity: .7; }
@page { margin: 15mm; }
@media (max-width: 40rem) {
  col.gate { width: 8rem; } col.verdict { width: 6.5rem; } col.seconds { width: 0; } .seconds { display: none; }
}
@media print {
  :root { font-size: 11px; color-scheme: light; }
  body { margin: 0; max-width: none; padding: 0; }
  tr, dl { break-inside: avoid; } h2 { break-after: avoid; } thead { display: table-header-group; }
  details:not([open]) { display: none; } summary { display: none; }
  pre { max-height: none; border: 1px solid var(--line); background: none; }
}
"""
_CLASSES = {Verdict.PASS: "good", Verdict.WAIVED: "waived"}


def render(report: Report) -> str:
    """The whole page. Everything a service answered is escaped, and the page may load and run nothing."""
    phases = [phase for phase in Phase if any(result.phase is phase for result in report.results)]
    tables = "\n".join(_table(phase, [each for each in report.results if each.phase is phase]) for phase in phases)
    facts = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in _facts(report) if value)
    notes = [report.compared, f"score {score_of(report).sentence}" if report.results else ""]
    told = "".join(f"<p>{escape(note)}</p>" for note in notes if note)
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
<header>
<h1><strong class="{"good" if report.go else "bad"}">{report.verdict}</strong></h1>
<span>{escape(_headline(report))}</span>
</header>
<dl>{facts}</dl>
{told}
{tables}
<footer>golive {escape(__version__)}. The gates decide; the score says how far it is and decides nothing.</footer>
</body>
</html>"""


def _headline(report: Report) -> str:
    counts = report.counts
    told = [f"{counts[Verdict.PASS]} of {len(report.results)} gates passed"]
    for verdict, word in ((Verdict.WAIVED, "waived"), (Verdict.FAIL, "failed"), (Verdict.UNAVAILABLE, "could not run")):
        told += [f"{counts[verdict]} {word}"] if counts[verdict] else []
    return ", ".join(told)


def _facts(report: Report) -> list[tuple[str, str]]:
    return [
        ("Service", report.url),
        ("Environment", report.environment),
        ("Commit", report.commit[:12]),
        ("Version", report.version),
        ("Profile", report.profile),
        ("When", format_instant(report.started_at)),
        ("Took", f"{report.seconds:.1f} s"),
    ]


def _table(phase: Phase, results: list[Result]) -> str:
    rows = "\n".join(_row(result) for result in results)
    names = (("Gate", ""), ("Verdict", ""), ("Time", ' class="seconds"'), ("Why", ""))
    heads = "".join(f'<th scope="col"{style}>{name}</th>' for name, style in names)
    columns = '<col class="gate"><col class="verdict"><col class="seconds"><col>'
    return f"""<h2>{phase}</h2>
<table>
<colgroup>{columns}</colgroup>
<thead><tr>{heads}</tr></thead>
<tbody>
{rows}
</tbody>
</table>"""


def _row(result: Result) -> str:
    outcome = result.outcome
    evidence = json.dumps(dict(outcome.evidence), indent=2, ensure_ascii=False, default=str)
    shown = evidence if len(evidence) <= _EVIDENCE_MAX else evidence[:_EVIDENCE_MAX] + "\n..."
    opened = "" if outcome.verdict is Verdict.PASS else " open"
    details = (
        f"<details{opened}><summary>Evidence</summary><pre>{escape(shown)}</pre></details>" if outcome.evidence else ""
    )
    return (
        f'<tr><th scope="row">{escape(result.gate)}</th>'
        f'<td><strong class="{_CLASSES.get(outcome.verdict, "bad")}">{outcome.verdict}</strong></td>'
        f'<td class="seconds">{result.seconds:.1f} s</td>'
        f'<td class="why">{escape(outcome.sentence)}{details}</td></tr>'
    )
