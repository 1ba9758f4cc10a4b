"""
Evidence from the embedded gateway: Envoy's own counters and histograms, per version.

The histograms are read as bins of two significant digits, not as Prometheus buckets: p99 comes within one percent of
what a client measures instead of twelve. Two corrections are made. Requests that ran into the gateway's time-out are
missing from Envoy's histogram, which would make the slowest version look fastest; they are added to the last bucket.
And counters start again when Envoy restarts or a version was forgotten, so both are part of the epoch.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from golive.errors import UnavailableError
from golive.rollout.evidence.envoy_requests import RequestTap
from golive.rollout.ports import ArmSample, Evidence, Sample
from golive.rollout.routers.envoy_config import cluster_name
from golive.rollout.routers.envoy_gateway import EnvoyGateway

BOUNDS = (
    *(0.001, 0.002, 0.003, 0.005, 0.007),
    *(0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.06, 0.075),
    *(0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75, 0.8),
    *(1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.5, 8.0),
    *(10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0),
)
"""
1 ms to 120 s, few enough to be journaled at every look. The limits people write are edges, which makes "the share above
it" exact, and that is the question a verdict asks.
"""
FINE_BOUNDS = tuple(float(f"{digits}e{power}") for power in range(-4, 1) for digits in range(10, 100))
"""1 ms to 99 s, every edge of Envoy's own bins: as exact as it gets, for percentiles. 450 numbers per version."""

_FIELDS = "upstream_rq_(completed|5xx|timeout|active|pending_active|time)|membership_healthy"


class EnvoyEvidence(Evidence):
    """
    Counts what *gateway* saw.

    Args:
        tap: an open tap tells routes and clients apart. Without one the only route is ``"*"`` and there are no units.
        bounds: upper edges of the latency buckets, seconds, ascending, of at most two significant digits: another
            edge would cut through one of Envoy's bins.

    Raises: ValueError for other bounds.
    """

    def __init__(self, gateway: EnvoyGateway, bounds: Sequence[float] = BOUNDS, tap: RequestTap | None = None) -> None:
        self.gateway = gateway
        self.tap = tap
        self.bounds = tuple(bounds)
        blunt = [bound for bound in bounds if bound != float(f"{bound:.1e}")]
        if blunt or sorted(set(bounds)) != list(bounds) or not bounds:
            raise ValueError(f"expected ascending bounds of at most two significant digits, got {blunt or bounds}")

    async def sample(self) -> Sample:
        """See :class:`~golive.rollout.ports.Evidence`. Latencies are up to 0.25 s older than counters."""
        wanted = self.gateway.files.read()
        names = {cluster_name(self.gateway.settings.service, arm.version): arm for arm in wanted.arms}
        before = self.gateway.running()
        found = await self.gateway.admin().stats(rf"^cluster\.({'|'.join(names) or '-'})\.({_FIELDS})$", detailed=True)
        if before is None or before != self.gateway.running():
            raise UnavailableError("gateway: expected one Envoy during a reading, it restarted meanwhile. Read again.")
        bins = {entry["name"]: entry["totals"] for entry in found.get("histograms", ())}
        arms = {arm.version: self._arm(f"cluster.{name}.", found, bins) for name, arm in names.items()}
        known = {version: self._told(version, arm) for version, arm in arms.items() if arm is not None}
        epoch = f"{before.node}.{wanted.removals}" + (f".{self.tap.epoch}" if self.tap else "")
        return Sample(datetime.now(UTC), epoch, known)

    def _told(self, version: str, arm: ArmSample) -> ArmSample:
        """*arm* with what the tap knows better."""
        if self.tap is None:
            return arm
        account = self.tap.account(version)
        return msgspec.structs.replace(
            arm,
            requests=dict(account.requests),
            errors=dict(account.errors),
            units=account.units,
            bad_units=account.bad_units,
        )

    def _arm(self, prefix: str, found: dict[str, Any], bins: dict[str, list[dict[str, float]]]) -> ArmSample | None:
        if prefix + "membership_healthy" not in found:
            return None  # Envoy does not know the version yet, or any more

        def count(name: str) -> int:
            return int(found.get(prefix + name, 0))

        latency = bucket_counts(bins.get(prefix + "upstream_rq_time", []), self.bounds)
        latency[-1] += count("upstream_rq_timeout")
        return ArmSample(
            requests={"*": count("upstream_rq_completed")},
            errors={"*": count("upstream_rq_5xx")},
            latency=latency,
            active=count("upstream_rq_active") + count("upstream_rq_pending_active"),
            healthy=count("membership_healthy") > 0,
        )


def bucket_counts(bins: Iterable[dict[str, float]], bounds: Sequence[float]) -> list[int]:
    """
    Envoy's bins, in milliseconds, as counts per bucket of *bounds*, in seconds, plus one above the last.

    A bin belongs to the first bucket whose edge is not below the bin's upper edge.
    """
    counts = [0] * (len(bounds) + 1)
    for entry in bins:
        # Rounded: 4.2 + 0.1 is a little more than 4.3, and must not fall into the next bucket for that.
        upper = round((entry["lower_bound"] + entry["width"]) / 1000, 9)
        counts[bisect_left(bounds, upper)] += int(entry["count"])
    return counts
