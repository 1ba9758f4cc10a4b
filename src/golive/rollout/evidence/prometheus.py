"""
Evidence from Prometheus: instant queries per version, over its HTTP API.

Every query names the version it asks about, by ``{version}`` or ``$labels``. What makes such evidence lie is refused,
and refused means that the rollout holds with the reason: no series, several series, NaN or infinity, an answer that is
old or of another time, a server that does not answer, and a query that says the same about both versions because its
label is wrong. Prometheus repeats the last value of a series for five minutes; every query therefore brings a shorter
look-back of its own.

Counters are read as they are, not as rates: the judge takes the differences, and notices one that began again.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
import urllib.error
import urllib.parse
import urllib.request
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from golive.errors import ConfigError, UnavailableError
from golive.rollout.ports import ArmSample, Evidence, Sample
from golive.timing import format_duration

EPOCH = "prometheus"
ANSWER_BYTES_MAX = 8 * 1024 * 1024
CLOCKS_APART_SECONDS = 60.0
"""An answer whose time is farther from ours is not about now."""
CHANCE_REQUESTS = 20
"""Fewer requests than this may be the same for two versions by chance; if more ever are, one look is lost."""
PLACEHOLDERS = ("{version}", "$labels")


@dataclass(frozen=True)
class PrometheusSettings:
    """
    What is asked, and whom.

    Attributes:
        url: of the server, ``http://host:9090``, with or without a path before ``/api/v1``.
        requests, errors: queries of cumulative counters; None leaves requests to another source.
        latency: a query of the buckets of a histogram, by ``le``, cumulative as Prometheus has them.
        rows: queries of levels, by row of the table; ``$window`` is the row's look-back.
        windows: by row.
        label: what ``$labels`` selects the version by.
        lookback: a value older than this is no value.
        headers: sent along, for a token.
    """

    url: str
    requests: str | None = None
    errors: str | None = None
    latency: str | None = None
    rows: Mapping[str, str] = field(default_factory=dict)
    windows: Mapping[str, timedelta] = field(default_factory=dict)
    label: str = "version"
    lookback: timedelta = timedelta(minutes=1)
    timeout: timedelta = timedelta(seconds=5)
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        faults = []
        if not self.url.startswith(("http://", "https://")):
            faults.append(f'rollout.prometheus.url: expected "http://host:9090", got {self.url!r}.')
        if (self.requests is None) != (self.errors is None):
            faults.append("rollout.prometheus: expected requests and errors together, got only one of them.")
        if self.latency is not None and self.requests is None:
            faults.append("rollout.prometheus.latency: expected requests and errors beside it, got neither.")
        named = {"requests": self.requests, "errors": self.errors, "latency": self.latency}
        queries = {f"rollout.prometheus.{name}": query for name, query in named.items() if query is not None}
        queries |= {f"slo.{name}.query": query for name, query in self.rows.items()}
        faults += [
            f"{place}: expected a query with {{version}} or $labels in it: it would say the same about both versions."
            for place, query in queries.items()
            if not any(word in query for word in PLACEHOLDERS)
        ]
        if faults:
            raise ConfigError(*faults)


class PrometheusEvidence(Evidence):
    """
    Counts what Prometheus knows of the versions that run.

    Args:
        versions: those to ask about, at every look.
        bounds: upper edges of the latency buckets; a bucket of Prometheus falls into the first one that holds it whole.
    """

    def __init__(
        self, settings: PrometheusSettings, versions: Callable[[], Iterable[str]], bounds: Sequence[float]
    ) -> None:
        self.settings = settings
        self.bounds = tuple(bounds)
        self._versions = versions

    async def sample(self) -> Sample:
        """See :class:`~golive.rollout.ports.Evidence`. A version without any series has no entry."""
        versions = sorted(set(self._versions()))
        arms = await asyncio.gather(*(asyncio.to_thread(self._arm, version) for version in versions))
        known = {version: arm for version, arm in zip(versions, arms, strict=True) if arm is not None}
        self._tell_apart(known)
        return Sample(datetime.now(UTC), EPOCH, known)

    # ---- one version

    def _arm(self, version: str) -> ArmSample | None:
        levels = {row: level for row in self.settings.rows if (level := self._level(row, version)) is not None}
        if self.settings.requests is None or self.settings.errors is None:
            return ArmSample({}, {}, [0] * (len(self.bounds) + 1), levels=levels)
        requests = self._number(self.settings.requests, "rollout.prometheus.requests", version)
        if requests is None:
            return None
        # A counter nobody increased yet does not exist: no failure is no series.
        errors = self._number(self.settings.errors, "rollout.prometheus.errors", version) or 0.0
        return ArmSample({"*": _whole(requests)}, {"*": _whole(errors)}, self._latency(version), levels=levels)

    def _level(self, row: str, version: str) -> float | None:
        window = format_duration(self.settings.windows.get(row, timedelta(minutes=5)))
        return self._number(self.settings.rows[row].replace("$window", window), f"slo.{row}.query", version)

    def _latency(self, version: str) -> list[int]:
        counts = [0] * (len(self.bounds) + 1)
        if self.settings.latency is None:
            return counts
        place = "rollout.prometheus.latency"
        buckets = sorted(_edge(series, place) for series in self._ask(self.settings.latency, place, version))
        below = 0.0
        for edge, cumulative in buckets:
            if not math.isfinite(cumulative) or cumulative < below:
                raise UnavailableError(
                    f"{place} of {version}: expected buckets that add up, got {cumulative:g} at {edge:g}."
                )
            counts[bisect_left(self.bounds, edge)] += _whole(cumulative - below)
            below = cumulative
        return counts

    def _number(self, query: str, place: str, version: str) -> float | None:
        """The one value of *query*; None when there is no series."""
        found = self._ask(query, place, version)
        if not found:
            return None
        if len(found) > 1:
            raise UnavailableError(
                f"{place} of {version}: expected one series, got {len(found)}. Sum them up in the query: sum(...)."
            )
        value = found[0][1]
        if not math.isfinite(value):
            raise UnavailableError(f"{place} of {version}: expected a number, got {value}: nothing was counted.")
        return value

    def _tell_apart(self, arms: Mapping[str, ArmSample]) -> None:
        """The label check: two versions with exactly the same requests are one version, asked about twice."""
        seen: dict[int, str] = {}
        for version, arm in arms.items():
            requests = sum(arm.requests.values())
            if requests >= CHANCE_REQUESTS and requests in seen:
                both = f"{seen[requests]} and {version} have exactly the same {requests:,} requests"
                raise UnavailableError(
                    f"rollout.prometheus: {both}: the query does not tell them apart. "
                    f'Is "{self.settings.label}" the label your metrics have?'
                )
            seen[requests] = version

    # ---- the server

    def _ask(self, query: str, place: str, version: str) -> list[tuple[dict[str, str], float]]:
        """The series of an instant query: labels and value."""
        named = query.replace("{version}", version).replace("$labels", f'{self.settings.label}="{version}"')
        lookback = self.settings.lookback.total_seconds()
        asked = urllib.parse.urlencode(
            {"query": named, "time": f"{time.time():.3f}", "lookback_delta": f"{lookback:g}s"}
        )
        document = self._answer(asked, f"{place} of {version}")
        return _series(document, f"{place} of {version}")

    def _answer(self, asked: str, place: str) -> Any:
        url = f"{self.settings.url.rstrip('/')}/api/v1/query?{asked}"
        request = urllib.request.Request(url, headers=dict(self.settings.headers))  # noqa: S310 - http(s), checked
        try:
            with urllib.request.urlopen(request, timeout=self.settings.timeout.total_seconds()) as answer:  # noqa: S310
                body: bytes = answer.read(ANSWER_BYTES_MAX + 1)
        except urllib.error.HTTPError as error:
            body = error.read(ANSWER_BYTES_MAX) or str(error).encode()
        except (OSError, ValueError) as error:
            raise UnavailableError(f"{place}: Prometheus did not answer: {getattr(error, 'reason', error)}.") from error
        try:
            return json.loads(body[: ANSWER_BYTES_MAX + 1])
        except ValueError:
            said = body[:100].decode(errors="replace")
            raise UnavailableError(f"{place}: expected JSON from Prometheus, got {said!r}.") from None


def _series(document: Any, place: str) -> list[tuple[dict[str, str], float]]:
    if not isinstance(document, dict) or document.get("status") != "success":
        said = document.get("error") if isinstance(document, dict) else None
        raise UnavailableError(f"{place}: Prometheus refused the query: {said or 'it did not say why'}.")
    try:
        data = document["data"]
        if data["resultType"] == "scalar":
            return [({}, _fresh(data["result"], place))]
        if data["resultType"] != "vector":
            raise UnavailableError(f"{place}: expected a query of an instant, got a {data['resultType']}.")
        return [(dict(each["metric"]), _fresh(each["value"], place)) for each in data["result"]]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UnavailableError(f"{place}: expected an answer of /api/v1/query, got something else.") from None


def _fresh(pair: Sequence[Any], place: str) -> float:
    at, text = pair
    apart = float(at) - time.time()
    if abs(apart) > CLOCKS_APART_SECONDS:
        raise UnavailableError(
            f"{place}: expected an answer about now, got one {abs(apart):.0f} s {'ahead' if apart > 0 else 'old'}. "
            "Are the clocks right?"
        )
    return float(text)


def _edge(series: tuple[dict[str, str], float], place: str) -> tuple[float, float]:
    labels, value = series
    try:
        return float(labels["le"]), value
    except (KeyError, ValueError):
        raise UnavailableError(f"{place}: expected buckets by le, got {labels}. Write sum by (le) (...).") from None


def _whole(value: float) -> int:
    """Counters are counts; a recording rule may have made something in between of them."""
    return max(round(value), 0)
