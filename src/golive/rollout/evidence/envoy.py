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
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec

from golive.errors import UnavailableError
from golive.rollout.evidence.bounds import BOUNDS as BOUNDS
from golive.rollout.evidence.envoy_requests import RequestTap
from golive.rollout.ports import ArmSample, Evidence, Sample
from golive.rollout.routers.envoy_config import cluster_name
from golive.rollout.routers.envoy_gateway import EnvoyGateway

FINE_BOUNDS = tuple(float(f"{digits}e{power}") for power in range(-4, 1) for digits in range(10, 100))
"""1 ms to 99 s, every edge of Envoy's own bins: as exact as it gets, for percentiles. 450 numbers per version."""

LOST_REQUESTS = 20
"""So many requests counted by the gateway and not told to the tap, and the tap is not believed any more."""

_FIELDS = "upstream_rq_(completed|5xx|timeout|active|pending_active|time)|membership_healthy"


class EnvoyEvidence(Evidence):
    """
    Counts what *gateway* saw.

    Args:
        tap: an open tap tells routes and clients apart. Without one, and while the gateway tells it nothing, the only
            route is ``"*"`` and there are no units; that is another epoch.
        bounds: upper edges of the latency buckets, seconds, ascending, of at most two significant digits: another
            edge would cut through one of Envoy's bins.

    Raises: ValueError for other bounds.
    """

    def __init__(self, gateway: EnvoyGateway, bounds: Sequence[float] = BOUNDS, tap: RequestTap | None = None) -> None:
        self.gateway = gateway
        self.tap = tap
        self._trust = _Trust()
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
        known = {version: arm for version, arm in arms.items() if arm is not None}
        epoch = f"{before.node}.{wanted.removals}"
        tap = await self._trusted_tap(sum(arm.requests["*"] for arm in known.values()))
        if tap is not None:
            known = {version: self._told(tap, version, arm) for version, arm in known.items()}
            epoch += f".{tap.epoch}"
        return Sample(datetime.now(UTC), epoch, known)

    async def _trusted_tap(self, counted: int) -> RequestTap | None:
        """The tap, unless the gateway counts requests and tells it of none; then it is opened anew."""
        tap = self.tap
        if tap is None or not tap.listening:
            return None
        if self._trust.lost(counted, tap.told):
            with suppress(UnavailableError):
                await tap.close()
                await tap.open()
        return tap if self._trust.good else None

    def _told(self, tap: RequestTap, version: str, arm: ArmSample) -> ArmSample:
        """*arm* with what the tap knows better."""
        account = tap.account(version)
        account.look()
        return msgspec.structs.replace(
            arm,
            requests=dict(account.requests),
            errors=dict(account.errors),
            units=account.units,
            bad_units=account.bad_units,
            latency_by_route={route: list(counts) for route, counts in account.latency.items()},
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


class _Trust:
    """Whether the tap hears what the gateway counts."""

    def __init__(self) -> None:
        self.good = True
        self._told = -1
        self._counted_then = 0  # when it was last told something
        self._counted_before = 0  # at the last reading: records may lag behind counters by less than that

    def lost(self, counted: int, told: int) -> bool:
        """Take a reading; True when the tap has just turned out to be deaf."""
        if told != self._told or counted < self._counted_before:
            self.good = self.good or told > 0
            self._told, self._counted_then = told, counted
        deaf = self._counted_before - self._counted_then >= LOST_REQUESTS
        self._counted_before = counted
        if deaf:
            self.good, self._told, self._counted_then = False, 0, counted
        return deaf


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
