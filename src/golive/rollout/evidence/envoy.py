"""
Evidence from the embedded gateway: Envoy's own counters and histograms, per version.

The histograms are read as bins of two significant digits, not as Prometheus buckets: p99 comes within one percent of
what a client measures instead of twelve. Two corrections are made. Requests that ran into the gateway's time-out are
missing from Envoy's histogram, which would make the slowest version look fastest; they are added to the last bucket.
And counters start again when Envoy restarts or a version was forgotten, so both are part of the epoch.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from golive.errors import UnavailableError
from golive.rollout.ports import ArmSample, Evidence, Sample
from golive.rollout.routers.envoy_config import cluster_name
from golive.rollout.routers.envoy_gateway import EnvoyGateway

_MANTISSAS = (10, 11, 12, 13, 14, 15, 16, 18, 20, 22, 25, 28, 30, 33, 36, 40, 45, 50, 55, 60, 65, 70, 75, 80, 90)
_MILLISECONDS = (
    *range(1, 10),
    *(mantissa * decade for decade in (1, 10, 100, 1000) for mantissa in _MANTISSAS),
    100_000,
    110_000,
    120_000,
)
BOUNDS = tuple(milliseconds / 1000 for milliseconds in _MILLISECONDS)
"""
1 ms to 120 s. Every edge is an edge of Envoy's bins as well, so nothing is smeared; no bucket is wider than an eighth
of its value; and the limits people write (0.1, 0.25, 0.5, 1, 1.5, 3, 5 s) are edges, which makes "share above it"
exact.
"""

_FIELDS = "upstream_rq_(completed|5xx|timeout|active|pending_active|time)|membership_healthy"


class EnvoyEvidence(Evidence):
    """Counts what *gateway* saw. Routes are not told apart: the only key is ``"*"``."""

    bounds = BOUNDS

    def __init__(self, gateway: EnvoyGateway) -> None:
        self.gateway = gateway

    async def sample(self) -> Sample:
        """See :class:`~golive.rollout.ports.Evidence`. Latencies are up to 0.25 s older than counters."""
        wanted = self.gateway.files.read()
        names = {cluster_name(self.gateway.settings.service, arm.version): arm for arm in wanted.arms}
        before = self.gateway.running()
        found = await self.gateway.admin().stats(rf"^cluster\.({'|'.join(names) or '-'})\.({_FIELDS})$", detailed=True)
        if before is None or before != self.gateway.running():
            raise UnavailableError("gateway: expected one Envoy during a reading, it restarted meanwhile. Read again.")
        bins = {entry["name"]: entry["totals"] for entry in found.get("histograms", ())}
        arms = {arm.version: _arm_sample(f"cluster.{name}.", found, bins) for name, arm in names.items()}
        known = {version: arm for version, arm in arms.items() if arm is not None}
        return Sample(datetime.now(UTC), f"{before.node}.{wanted.removals}", known)


def _arm_sample(prefix: str, found: dict[str, Any], bins: dict[str, list[dict[str, float]]]) -> ArmSample | None:
    if prefix + "membership_healthy" not in found:
        return None  # Envoy does not know the version yet, or any more

    def count(name: str) -> int:
        return int(found.get(prefix + name, 0))

    latency = bucket_counts(bins.get(prefix + "upstream_rq_time", []))
    latency[-1] += count("upstream_rq_timeout")
    return ArmSample(
        requests={"*": count("upstream_rq_completed")},
        errors={"*": count("upstream_rq_5xx")},
        latency=latency,
        active=count("upstream_rq_active") + count("upstream_rq_pending_active"),
        healthy=count("membership_healthy") > 0,
    )


def bucket_counts(bins: Iterable[dict[str, float]]) -> list[int]:
    """
    Envoy's bins, in milliseconds, as counts per bucket of :data:`BOUNDS` plus one above the last.

    A bin belongs to the first bucket whose edge is not below the bin's upper edge.
    """
    counts = [0] * (len(BOUNDS) + 1)
    for entry in bins:
        # Rounded: 4.2 + 0.1 is a little more than 4.3, and must not fall into the next bucket for that.
        upper = round(entry["lower_bound"] + entry["width"], 6)
        counts[bisect_left(_MILLISECONDS, upper)] += int(entry["count"])
    return counts
