"""
What golive can measure by itself: the built-in indicators, as data. A row's name ends in one of these.

``submit_latency_p95`` is the indicator ``latency`` at the 0.95 quantile, named ``submit`` so that a table can hold
several. A row that ends in none of them is the user's own and brings a query.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from golive.slo.units import Unit

Severity = Literal["page", "ticket"]


@dataclass(frozen=True, slots=True)
class Indicator:
    """
    One thing that can be measured.

    Attributes:
        name: as row names end, without the quantile.
        unit: what its values are; None for a query, whose conditions decide.
        scopes: which of ``route`` and ``queue`` can narrow it.
        severity: who hears of the alarm by default. What users feel pages; what can wait until morning is a ticket.
        quantile: whether the name must end in one (``_p95``).
        share: its values are parts of a whole, so anything outside 0..1 is not a measurement.
    """

    name: str
    unit: Unit | None
    scopes: tuple[str, ...] = ()
    severity: Severity = "ticket"
    quantile: bool = False
    share: bool = False


CUSTOM = Indicator("custom", None, ("route", "queue"))

INDICATORS = {
    indicator.name: indicator
    for indicator in (
        Indicator("success_rate", "ratio", ("route", "queue"), "page", share=True),
        Indicator("error_rate", "ratio", ("route", "queue"), "page", share=True),
        Indicator("latency", "seconds", ("route",), "page", quantile=True),
        Indicator("job_duration", "seconds", ("queue",), quantile=True),
        Indicator("queue_depth", "number", ("queue",)),
        Indicator("dead_letters", "number", ("queue",)),
        Indicator("cost_per_job", "usd", ("queue",)),
        Indicator("memory_ratio", "ratio"),
        Indicator("cpu_ratio", "ratio"),
    )
}
#: as the documentation and the error messages list them
SPELLINGS = [f"{i.name}_p95" if i.quantile else i.name for i in INDICATORS.values()]

_QUANTILE = re.compile(r"(?P<stem>.+)_p(?P<digits>\d\d|99\d{1,2})")
_QUANTILE_FIRST = re.compile(r"(?P<quantile>p\d+)_(?P<stem>.+)")


def indicator_of(name: str) -> tuple[Indicator, float | None] | None:
    """
    The built-in indicator *name* ends in and its quantile (0..1), or None when it ends in none.

    >>> indicator_of("submit_latency_p95")[1]
    0.95
    """
    match = _QUANTILE.fullmatch(name)
    stem = match["stem"] if match else name
    quantile = float(f"0.{match['digits']}") if match else None
    for indicator in INDICATORS.values():
        if (stem == indicator.name or stem.endswith(f"_{indicator.name}")) and indicator.quantile == bool(quantile):
            return indicator, quantile
    return None


def spelling_hint(name: str) -> str:
    """What to write instead of a *name* that nearly ends in an indicator; the empty string when nothing is near."""
    match = _QUANTILE_FIRST.fullmatch(name)
    if match and indicator_of(f"{match['stem']}_{match['quantile']}"):
        return f' The quantile comes last: "{match["stem"]}_{match["quantile"]}".'
    if indicator_of(f"{name}_p95"):
        return f' The quantile is part of the name: "{name}_p95".'
    return ""
