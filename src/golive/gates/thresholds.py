"""
Conditions on what a load run measured: ``p95 < 300ms``, ``error_rate < 1%``, ``dropped == 0``.

The grammar of the right-hand side is the SLO table's; the names on the left are the figures of a
:class:`~golive.load.LoadReport`. A figure that was not measured satisfies nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from golive.errors import UsageError, did_you_mean
from golive.load import Counts, LoadReport
from golive.slo.condition import Condition, parse_condition
from golive.slo.row import Row
from golive.slo.units import Unit

_Measure = Callable[[LoadReport], float | None]
_QUANTILE = re.compile(r"(?:(?P<kind>latency|service|lag)_)?p(?P<digits>\d\d|99\d{1,2}|100)")
_THRESHOLD = re.compile(r"\s*(?P<name>[A-Za-z][\w.-]*)\s*(?P<condition>[<>=!≤≥].*)", re.DOTALL)

_FIGURES: dict[str, tuple[Unit, _Measure]] = {
    "error_rate": ("ratio", lambda report: report.failed / report.requests if report.requests else None),
    "success_rate": ("ratio", lambda report: report.success_ratio),
    "failed": ("number", lambda report: report.failed),
    "dropped": ("number", lambda report: report.dropped),
    "requests": ("number", lambda report: report.requests),
    "rate": ("number", lambda report: report.achieved_rate),
    "max": ("seconds", lambda report: report.latency.max),
    "mean": ("seconds", lambda report: report.latency.mean),
}


@dataclass(frozen=True, slots=True)
class Threshold:
    """One condition on one figure of a load report."""

    name: str
    condition: Condition
    measure: _Measure

    def judge(self, report: LoadReport) -> tuple[bool, str]:
        """Whether it holds, and the sentence: ``p95 is 312ms (limit < 300ms)``."""
        value = self.measure(report)
        if value is None:
            return False, f"{self.name} was not measured (limit {self.condition})"
        return self.condition.holds(value), f"{self.name} is {self.condition.shown(value)} (limit {self.condition})"

    @property
    def latency_limit(self) -> float | None:
        """The limit in seconds when this is an upper bound on latency: what the generator's lag is compared with."""
        is_latency = self.condition.unit == "seconds" and self.condition.op in ("<", "<=")
        return self.condition.value if is_latency and not self.name.startswith("lag") else None


def parse_threshold(text: str) -> Threshold:
    """
    ``"p95 < 300ms"`` as a :class:`Threshold`.

    Names: ``p50`` .. ``p9999``, ``p100`` (also ``latency_p95``, ``service_p95``, ``lag_p99``), ``mean``, ``max``,
    ``error_rate``, ``success_rate``, ``failed``, ``dropped``, ``requests``, ``rate``.

    Raises: UsageError saying what was expected.
    """
    match = _THRESHOLD.fullmatch(text)
    if match is None:
        raise UsageError(f'threshold: expected a condition such as "p95 < 300ms", got {text!r}.')
    unit, measure = _figure(match["name"])
    try:
        return Threshold(match["name"], parse_condition(match["condition"], unit), measure)
    except ValueError as error:
        raise UsageError(f"threshold {text!r}: {error}") from None


def of_table(rows: Iterable[Row], request: str = "") -> list[str]:
    """
    What the SLO table asks of a load run, as thresholds: its latency, error and success rows as they are in the gate.

    Args:
        request: ``POST /api/orders``; rows of other routes are left out, those without a route are kept.
    """
    found = []
    for row in (row.for_phase("gate") for row in rows):
        if row.query is not None or (row.route is not None and not _is_route(row.route, request)):
            continue
        if row.indicator == "latency" and row.quantile is not None:
            found.append(f"p{f'{row.quantile:.4f}'[2:].rstrip('0').ljust(2, '0')} {row.target}")
        elif row.indicator in ("error_rate", "success_rate"):
            found.append(f"{row.indicator} {row.target}")
    return found


def _is_route(route: str, request: str) -> bool:
    """A route without a method means all methods."""
    return route in (request, request.rpartition(" ")[2])


def latency_limit(thresholds: list[Threshold]) -> float | None:
    """The tightest latency limit among *thresholds*, in seconds; None when none is about latency."""
    limits = [limit for threshold in thresholds if (limit := threshold.latency_limit) is not None]
    return min(limits, default=None)


def _figure(name: str) -> tuple[Unit, _Measure]:
    if name in _FIGURES:
        return _FIGURES[name]
    match = _QUANTILE.fullmatch(name)
    if match is None:
        known = [*_FIGURES, "p50", "p95", "p99", "p999", "service_p95"]
        raise UsageError(
            f'threshold: unknown figure "{name}"{did_you_mean(name, known) or "."} Known: {", ".join(known)}.'
        )
    kind = match["kind"] or "latency"
    quantile = 1.0 if match["digits"] == "100" else float(f"0.{match['digits']}")

    def measure(report: Counts) -> float | None:
        histogram = {"latency": report.latency, "service": report.service, "lag": report.lag}[kind]
        return histogram.quantile(quantile)

    return "seconds", measure
