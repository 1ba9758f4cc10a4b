"""
A bounded store of counters, gauges and histograms.

Written rather than taken from a library because the numbers are on the hot path of every request and the store must
never grow without bound: each family has a most number of series, what comes after shares one series labelled
``__overflow__``, and ``metrics_overflow_total`` moves. Rendering is :mod:`golive.chassis.exposition`.

One event loop writes; no locks. A family registered twice with the same shape is the same family, so that a hot reload
or a second ``wrap`` neither fails nor duplicates.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, TypeVar

from golive.errors import ConfigError

OVERFLOW = "__overflow__"
SERIES_MAX = 1000

Labels = tuple[str, ...]
Across = Literal["sum", "max", "min"]
FamilyT = TypeVar("FamilyT", bound="Family")
SourcedT = TypeVar("SourcedT", "Counter", "Gauge")


class Family:
    """What every metric has: a name, help, label names and a bounded set of series."""

    kind = ""

    def __init__(self, registry: Metrics, name: str, help_text: str, labels: Labels, series_max: int) -> None:
        self.registry = registry
        self.name = name
        self.help = help_text
        self.labels = labels
        self.series_max = series_max

    def _bounded(self, held: int, labels: Labels) -> Labels:
        """*labels* when there is room for one more series, otherwise the overflow labels."""
        assert len(labels) == len(self.labels), f"{self.name} has labels {self.labels}, got {labels}"
        if held < self.series_max:
            return labels
        self.registry.overflows.inc(self.name)
        return (OVERFLOW,) * len(self.labels)


class Counter(Family):
    """A number that only grows. Its name ends in ``_total``."""

    kind = "counter"

    def __init__(self, registry: Metrics, name: str, help_text: str, labels: Labels, series_max: int) -> None:
        super().__init__(registry, name, help_text, labels, series_max)
        self.values: dict[Labels, float] = {} if labels else {(): 0.0}
        self.source: Callable[[], float] | None = None

    def inc(self, *labels: str, by: float = 1.0) -> None:
        """Add *by*, >= 0, to the series of *labels*."""
        try:
            self.values[labels] += by
        except KeyError:
            key = self._bounded(len(self.values), labels)
            self.values[key] = self.values.get(key, 0.0) + by

    def samples(self) -> dict[Labels, float]:
        """The values now."""
        return {(): self.source()} if self.source is not None else self.values


class Gauge(Family):
    """
    A number that goes up and down, set by :meth:`set` or read at scrape time from *source*.

    Attributes:
        across: what it is for several worker processes together: their ``sum``, ``max`` or ``min``.
    """

    kind = "gauge"
    across: Across = "sum"

    def __init__(self, registry: Metrics, name: str, help_text: str, labels: Labels, series_max: int) -> None:
        super().__init__(registry, name, help_text, labels, series_max)
        self.values: dict[Labels, float] = {}
        self.source: Callable[[], float] | None = None

    def set(self, value: float, *labels: str) -> None:
        """Set the series of *labels*."""
        if labels not in self.values:
            labels = self._bounded(len(self.values), labels)
        self.values[labels] = value

    def samples(self) -> dict[Labels, float]:
        """The values now."""
        return {(): self.source()} if self.source is not None else self.values


class HistogramSeries:
    """One series of a histogram; keep it and call :meth:`observe`, that is the fast way."""

    __slots__ = ("counts", "edges", "sum")

    def __init__(self, edges: tuple[float, ...]) -> None:
        self.edges = edges
        self.counts = [0] * (len(edges) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count *value*; an edge belongs to the bucket it closes (``le``)."""
        self.counts[bisect_left(self.edges, value)] += 1
        self.sum += value


class Histogram(Family):
    """Counts of observations by upper edge."""

    kind = "histogram"

    def __init__(
        self, registry: Metrics, name: str, help_text: str, labels: Labels, series_max: int, edges: tuple[float, ...]
    ) -> None:
        super().__init__(registry, name, help_text, labels, series_max)
        self.edges = edges
        self.values: dict[Labels, HistogramSeries] = {}

    def series(self, *labels: str) -> HistogramSeries:
        """The series of *labels*, made on first use."""
        try:
            return self.values[labels]
        except KeyError:
            key = self._bounded(len(self.values), labels)
            return self.values.setdefault(key, HistogramSeries(self.edges))

    def observe(self, value: float, *labels: str) -> None:
        """Count *value* in the series of *labels*."""
        self.series(*labels).observe(value)

    def merge(self, counts: Sequence[int], total: float, *labels: str) -> None:
        """Add what was counted elsewhere by the same edges: *counts* of values that are *total* together."""
        series = self.series(*labels)
        series.counts = [mine + more for mine, more in zip(series.counts, counts, strict=True)]
        series.sum += total


class Metrics:
    """The registry of one process."""

    def __init__(self) -> None:
        self._families: dict[str, Family] = {}
        self.overflows = self.counter(
            "metrics_overflow_total", "Times a metric had no room for another series.", ("metric",)
        )

    def __iter__(self) -> Iterator[Family]:
        return iter(list(self._families.values()))

    def counter(
        self,
        name: str,
        help_text: str,
        labels: Labels = (),
        *,
        series_max: int = SERIES_MAX,
        source: Callable[[], float] | None = None,
    ) -> Counter:
        """
        The counter *name*, registered on first use; with *source* it is read at scrape time.

        Raises: ConfigError when *name* is already taken by another kind or other labels.
        """
        return self._sourced(self._add(Counter(self, name, help_text, labels, series_max)), source)

    def gauge(
        self,
        name: str,
        help_text: str,
        labels: Labels = (),
        *,
        series_max: int = SERIES_MAX,
        source: Callable[[], float] | None = None,
        across: Across = "sum",
    ) -> Gauge:
        """The gauge *name*; with *source* it is read at scrape time. Raises as :meth:`counter`."""
        gauge = self._sourced(self._add(Gauge(self, name, help_text, labels, series_max)), source)
        gauge.across = across
        return gauge

    def histogram(
        self, name: str, help_text: str, labels: Labels = (), *, edges: tuple[float, ...], series_max: int = SERIES_MAX
    ) -> Histogram:
        """The histogram *name* with upper *edges*, ascending. Raises as :meth:`counter`."""
        return self._add(Histogram(self, name, help_text, labels, series_max, edges))

    @staticmethod
    def _sourced(family: SourcedT, source: Callable[[], float] | None) -> SourcedT:
        if source is not None:
            assert not family.labels, "a metric with a source has one series"
            family.source = source
        return family

    def _add(self, family: FamilyT) -> FamilyT:
        held = self._families.setdefault(family.name, family)
        if type(held) is not type(family) or held.labels != family.labels:
            raise ConfigError(
                f"metric {family.name}: expected a {held.kind} with labels {held.labels}, got a {family.kind} with "
                f"labels {family.labels}. Give one of the two another name."
            )
        return held
