"""For people: one line per gate, the verdict last. The words carry the meaning; colour is left to the command line."""

from __future__ import annotations

from golive.gates.outcome import Verdict
from golive.gates.report import Report, Result
from golive.gates.score import score_of

_WIDTH = len(Verdict.UNAVAILABLE)


def render(report: Report) -> str:
    """The whole report, ending in a line that begins with GO or NO-GO."""
    return "\n".join([*(line(result) for result in report.results), *notes(report), "", summary(report)])


def notes(report: Report) -> list[str]:
    """What changed since the last GO, and the score where it is not full: both are told, neither decides."""
    score = score_of(report)
    told = [report.compared] if report.compared else []
    return ["", *told, f"score {score.sentence}"] if score.deductions else ["", *told] if told else []


def line(result: Result) -> str:
    """``PASS         health        0.2s  /livez answers 200``."""
    return f"{result.outcome.verdict:{_WIDTH}}  {result.gate:18} {result.seconds:5.1f}s  {result.outcome.sentence}"


def summary(report: Report) -> str:
    """``NO-GO  3 passed, 1 failed (health) in 4.2 s``."""
    good = [result for result in report.results if result.outcome.verdict is Verdict.PASS]
    parts = [f"{len(good)} passed"]
    for verdict, word in ((Verdict.WAIVED, "waived"), (Verdict.FAIL, "failed"), (Verdict.UNAVAILABLE, "could not run")):
        names = [result.gate for result in report.results if result.outcome.verdict is verdict]
        if names:
            parts.append(f"{len(names)} {word} ({', '.join(names)})")
    where = f" against {report.url}" if report.url else ""
    return f"{report.verdict}  {', '.join(parts)} in {report.seconds:.1f} s{where}"
