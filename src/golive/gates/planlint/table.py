"""Rows of ``[slo]`` that contradict the gates, or that leave a rollout nothing to judge."""

from __future__ import annotations

from collections.abc import Iterator

from golive.errors import UsageError
from golive.gates.planlint.facts import Finding, PlanFacts
from golive.gates.target import Target
from golive.gates.thresholds import parse_threshold
from golive.slo.condition import Condition
from golive.slo.row import Row

_JUDGED = {
    "requests": {"error_rate", "success_rate", "latency"},
    "jobs": {"error_rate", "success_rate", "job_duration"},
    "both": {"error_rate", "success_rate", "latency", "job_duration"},
}


def check(target: Target, facts: PlanFacts) -> Iterator[Finding]:
    """Every contradiction."""
    alarms = [row for row in facts.rows if row.alert_if is not None and not (row.queue or row.query or row.route)]
    for row in facts.rows:
        gate = row.for_phase("gate")
        if gate is not row and row.alert_if is not None and gate.target.overlaps(row.alert_if):
            yield _looser(f"slo.{row.name}.gate.target", gate.target, row)
    for text in target.load.thresholds if facts.load_wanted else ():
        try:
            threshold = parse_threshold(text)
        except UsageError:
            continue  # the load gate says so itself
        for row in alarms:
            same = threshold.name == _figure(row) and row.for_phase("gate").target != threshold.condition
            if same and row.alert_if is not None and threshold.condition.overlaps(row.alert_if):
                yield _looser(f'gates.load.thresholds "{text}"', threshold.condition, row)
    judged = _JUDGED[facts.moves]
    if facts.semantics == "golive" and not any(row.indicator in judged and row.query is None for row in facts.rows):
        yield Finding(
            "nothing-judged",
            ("slo", "rollout.moves"),
            f'no row of the table is about what "{facts.moves}" measures ({", ".join(sorted(judged))}), so none is '
            "judged in a rollout. Add one.",
        )


def _figure(row: Row) -> str:
    if row.indicator == "latency" and row.quantile is not None:
        return f"p{f'{row.quantile:.4f}'[2:].rstrip('0').ljust(2, '0')}"
    return row.indicator


def _looser(place: str, condition: Condition, row: Row) -> Finding:
    return Finding(
        "gate-looser-than-alarm",
        (place, f"slo.{row.name}.alert_if"),
        f'"{condition}" passes what alarms at once in production, "{row.alert_if}". Leave no overlap.',
    )
