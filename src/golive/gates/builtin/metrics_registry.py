"""
``metrics-registry``: what is exported can be scraped. No duplicate families, no duplicate series, nothing declared
and never observed that was promised. Source: seed 002 (double registration; a histogram declared and not
instrumented).
"""

from __future__ import annotations

import re
from collections import Counter

from golive.gates.gate import Gate, Phase
from golive.gates.http import Client
from golive.gates.outcome import Outcome, failed, passed
from golive.gates.target import Target

SERIES_MAX = 20_000
_TYPE = re.compile(r"# TYPE ([a-zA-Z_:][\w:]*) [a-z]+")
_SAMPLE = re.compile(r'([a-zA-Z_:][\w:]*)(\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\})? (\S+)(?: \S+)?(?: # .*)?')
_SUFFIXES = ("_bucket", "_count", "_sum", "_total", "_info", "_created")


async def check(target: Target) -> Outcome:
    """PASS when the metrics page parses, names every series once, and shows what was promised."""
    path = target.metrics_path
    answer = await Client(target).get(path)
    if answer.status != 200:
        return failed(f"GET {path}: expected 200, got {answer.status}")
    problems, series = faults(answer.body.decode("utf-8", "replace"), target.metrics_observed)
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        return failed("; ".join(problems[:5]) + more, problems=problems[:50], series=series)
    return passed(f"{path} has {series} series, each once", series=series)


def faults(text: str, observed: tuple[str, ...] = ()) -> tuple[list[str], int]:
    """
    What is wrong with an exposition, and how many series it has. *observed*: families that must have counted
    something.
    """
    types: Counter[str] = Counter()
    series: Counter[str] = Counter()
    values: dict[str, float] = {}
    problems = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#") or not line.strip():
            declared = _TYPE.fullmatch(line)
            if declared:
                types[declared[1]] += 1
            continue
        sample = _SAMPLE.fullmatch(line.strip())
        value = _number(sample[3]) if sample else None
        if sample is None or value is None:
            problems.append(f"line {number} is no sample: {line[:80]!r}")
            continue
        series[sample[1] + (sample[2] or "")] += 1
        values[sample[1]] = values.get(sample[1], 0.0) + value
    problems += [f"{name} is declared {count} times" for name, count in types.items() if count > 1]
    problems += [f"{name} is exported {count} times" for name, count in series.items() if count > 1]
    problems += [f"{name} is declared but never observed" for name in observed if not _seen(name, values)]
    if len(series) > SERIES_MAX:
        problems.append(f"{len(series)} series (limit {SERIES_MAX}): some label has no bound")
    return problems, len(series)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _seen(name: str, values: dict[str, float]) -> bool:
    return any(values.get(name + suffix, 0.0) > 0 for suffix in ("", *_SUFFIXES))


GATE = Gate(
    "metrics-registry",
    "The metrics page parses, and every series is there once.",
    Phase.SMOKE,
    check,
    depends_on=("startup",),
    watch=True,
)
