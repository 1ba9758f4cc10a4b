"""
What a load run saw: per second while it runs, and in all at its end.

A failure is a sample too: it is recorded at the age it had when it failed, because leaving it out would make a service
look the faster the more it fails. The report also judges the *measurement*: a generator that could not keep its own
schedule says so and refuses a verdict instead of blaming the service.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from golive.load.histogram import Histogram
from golive.load.plan import TALLY_MAX

#: Share of the judged limit that the generator's own lateness (p99) may take.
LAG_RATIO_MAX = 0.10
#: Share of the asked rate that must really have been sent.
ACHIEVED_RATIO_MIN = 0.99
#: Lateness that is always acceptable: what a shared two-core machine does to any process.
LAG_ALLOWED_SECONDS = 0.010


class Failure(enum.StrEnum):
    """Why a request counts as failed. The first seven mean the service never answered it completely."""

    CONNECT = "connect"
    """No connection: refused, unreachable, or the TLS handshake failed."""
    RESET_REUSED = "reset-reused"
    """Closed before the first byte of the answer, on a connection that had served before: the keep-alive race."""
    RESET_FRESH = "reset-fresh"
    """Closed before the first byte of the answer, on a new connection."""
    EOF = "eof"
    """The answer was cut in the middle."""
    TIMEOUT = "timeout"
    """Not answered completely within the plan's time-out, counted from the intended time."""
    PROTOCOL = "protocol"
    """What came back was not HTTP/1.1."""
    UNFINISHED = "unfinished"
    """Still in flight when the run was told to stop at once. Not the service's fault and not a drop."""
    STATUS_5XX = "status-5xx"
    STATUS_4XX = "status-4xx"
    STATUS_OTHER = "status-other"


#: Failures in which a request was lost on the way: what "0 dropped" is about.
DROPS = frozenset(
    {Failure.CONNECT, Failure.RESET_REUSED, Failure.RESET_FRESH, Failure.EOF, Failure.TIMEOUT, Failure.PROTOCOL}
)


@dataclass(slots=True)
class Counts:
    """
    The samples of one second, or of the whole run.

    Attributes:
        requests: finished requests, failed ones included.
        tally: answers by the value of the plan's tally header or field; ``tally_failures`` the failed ones of them.
        latency: from the intended time to the last byte; service: from when a connection was taken for it.
        lag: how late the generator itself was; sent: requests started.
        waited: requests that had to wait because ``connections_max`` were busy.
    """

    requests: int = 0
    sent: int = 0
    waited: int = 0
    failures: Counter[Failure] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    tally: Counter[str] = field(default_factory=Counter)
    tally_failures: Counter[str] = field(default_factory=Counter)
    latency: Histogram = field(default_factory=Histogram)
    service: Histogram = field(default_factory=Histogram)
    lag: Histogram = field(default_factory=Histogram)

    @property
    def failed(self) -> int:
        """Requests with a failure of any class but ``unfinished``, which nobody can call a failure."""
        return sum(self.failures.values()) - self.failures[Failure.UNFINISHED]

    @property
    def dropped(self) -> int:
        """Requests lost on the way: no connection, reset, cut, timed out."""
        return sum(count for failure, count in self.failures.items() if failure in DROPS)

    @property
    def success_ratio(self) -> float | None:
        """Share of finished requests without a failure, 0..1; None when none finished."""
        return 1 - self.failed / self.requests if self.requests else None

    def add_tally(self, value: str, failed: bool) -> None:
        """Count *value*; beyond :data:`~golive.load.plan.TALLY_MAX` different ones, as ``__other__``."""
        if value not in self.tally and len(self.tally) >= TALLY_MAX:
            value = "__other__"
        self.tally[value] += 1
        if failed:
            self.tally_failures[value] += 1

    def merge(self, other: Counts) -> None:
        """Add everything *other* counted."""
        self.requests += other.requests
        self.sent += other.sent
        self.waited += other.waited
        self.failures += other.failures
        self.statuses += other.statuses
        for value, count in other.tally.items():
            kept = value if value in self.tally or len(self.tally) < TALLY_MAX else "__other__"
            self.tally[kept] += count
            self.tally_failures[kept] += other.tally_failures[value]
        self.latency.merge(other.latency)
        self.service.merge(other.service)
        self.lag.merge(other.lag)

    def to_json(self) -> dict[str, Any]:
        """The counts as the ``ndjson`` and ``json`` output show them."""
        return {
            "requests": self.requests,
            "sent": self.sent,
            "failed": self.failed,
            "dropped": self.dropped,
            "success_ratio": self.success_ratio,
            "failures": {str(failure): count for failure, count in sorted(self.failures.items())},
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "tally": dict(sorted(self.tally.items())),
            "tally_failures": {value: count for value, count in sorted(self.tally_failures.items()) if count},
            "latency": self.latency.summary(),
            "service": self.service.summary(),
            "lag": self.lag.summary(),
        }


@dataclass(slots=True)
class Window(Counts):
    """
    One second of the run.

    Attributes:
        second: 1 for the first.
        elapsed_seconds: since the start, at the end of this window; seconds: how long it really was.
        in_flight: requests without an answer at its end; connections: open ones.
    """

    second: int = 0
    seconds: float = 1.0
    elapsed_seconds: float = 0.0
    in_flight: int = 0
    connections: int = 0

    def to_json(self) -> dict[str, Any]:
        """One line of ``-o ndjson``."""
        counts = Counts.to_json(self)  # zero-argument super() does not survive @dataclass(slots=True)
        return {
            "event": "second",
            "second": self.second,
            "elapsed_seconds": round(self.elapsed_seconds, 3),
            "rate": round(self.requests / self.seconds, 1) if self.seconds > 0 else 0.0,
            "in_flight": self.in_flight,
            "connections": self.connections,
            **counts,
        }


@dataclass(slots=True)
class LoadReport(Counts):
    """
    The whole run.

    Attributes:
        open_loop: requests left on a schedule; False when users waited for answers.
        asked: requests the schedule had due; equals ``sent`` in a closed loop.
        asked_rate, achieved_rate: requests per second due and really started, over the sending part of the run.
        elapsed_seconds: from the first intended time to the last answer.
        connections_opened: over the whole run.
        valid: False when the generator, not the service, set the figures; *why* says it in a sentence either way.
    """

    open_loop: bool = True
    asked: int = 0
    asked_rate: float = 0.0
    achieved_rate: float = 0.0
    elapsed_seconds: float = 0.0
    connections_opened: int = 0
    valid: bool = True
    why: str = ""

    def judge(self, latency_limit: float | None) -> None:
        """Set ``valid`` and ``why`` from what was asked, sent and late. *latency_limit* is in seconds."""
        reasons = self._bound_by_generator(latency_limit) if self.open_loop else []
        self.valid = not reasons and self.requests > 0
        if self.valid:
            self.why = f"sent {self.sent} of {self.asked} asked, scheduling lag p99 {_ms(self.lag.quantile(0.99))}"
        elif reasons:
            self.why = f"INVALID: generator-bound, {' and '.join(reasons)}"
        else:
            self.why = "INVALID: no request finished"

    @classmethod
    def of_generators(cls, reports: Sequence[LoadReport], latency_limit: float | None) -> LoadReport:
        """The sum of what several generators saw at the same time, judged: each must have kept its own schedule."""
        total = cls(open_loop=any(report.open_loop for report in reports))
        for report in reports:
            total.merge(report)
            total.asked += report.asked
            total.asked_rate += report.asked_rate
            total.achieved_rate += report.achieved_rate
            total.elapsed_seconds = max(total.elapsed_seconds, report.elapsed_seconds)
            total.connections_opened += report.connections_opened
        total.judge(latency_limit)
        for number, report in enumerate(reports, 1):
            reasons = report._bound_by_generator(latency_limit) if report.open_loop else []
            if reasons and total.valid:
                total.valid = False
                total.why = f"INVALID: generator-bound, generator {number} of {len(reports)} {' and '.join(reasons)}"
        return total

    def _bound_by_generator(self, limit: float | None) -> list[str]:
        reasons = []
        if self.asked and self.sent < ACHIEVED_RATIO_MIN * self.asked:
            reasons.append(f"sent only {self.sent} of {self.asked} requests ({self.sent / self.asked:.1%})")
        lag = self.lag.quantile(0.99) or 0.0
        # Without a limit to protect, lateness matters where it could be mistaken for the service's latency.
        yardstick = limit if limit is not None else self.latency.quantile(0.99) or 0.0
        allowed = (
            LAG_RATIO_MAX * yardstick if limit is not None else max(LAG_RATIO_MAX * yardstick, LAG_ALLOWED_SECONDS)
        )
        if lag > allowed:
            named = "the limit" if limit is not None else "the measured p99"
            reasons.append(f"scheduling lag p99 {_ms(lag)} is over a tenth of {named} ({_ms(yardstick)})")
        return reasons

    def to_json(self) -> dict[str, Any]:
        """The last line of ``-o ndjson`` and the whole of ``-o json``."""
        return {
            "event": "report",
            "valid": self.valid,
            "why": self.why,
            "open_loop": self.open_loop,
            "asked": self.asked,
            "asked_rate": round(self.asked_rate, 2),
            "achieved_rate": round(self.achieved_rate, 2),
            "elapsed_seconds": round(self.elapsed_seconds, 3),
            "connections_opened": self.connections_opened,
            "waited_for_connection": self.waited,
            **Counts.to_json(self),
        }


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f} ms"
