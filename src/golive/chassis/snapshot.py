"""
The metrics of many workers as if one process had counted them. Pure: snapshots in, a registry out.

A counter or histogram of a worker that has ended stays in the sum, so that no counter ever goes back; a gauge goes
with its worker. What is kept for the ended ones is one sum, however many there were: nothing grows with restarts.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Literal

import msgspec

from golive.chassis.metrics import Counter, Gauge, Histogram, Metrics
from golive.errors import ConfigError

#: Series of one family in the sum; each worker's registry has bounds of its own, which are lower.
SERIES_MAX = 200_000

Labels = tuple[str, ...]


class FamilyShot(msgspec.Struct, array_like=True):
    """
    One family at one moment.

    Attributes:
        across: how gauges of several workers become one number.
        values: of a counter or gauge, by labels.
        series: of a histogram: labels, sum, counts by bucket (not cumulated).
    """

    kind: str
    name: str
    help: str
    labels: Labels
    across: Literal["sum", "max", "min"] = "sum"
    edges: tuple[float, ...] = ()
    values: list[tuple[Labels, float]] = []
    series: list[tuple[Labels, float, list[int]]] = []


def take(metrics: Metrics) -> list[FamilyShot]:
    """What *metrics* holds now. The histograms' lists are the live ones: encode before anything is counted."""
    shots = []
    for family in metrics:
        shot = FamilyShot(family.kind, family.name, family.help, family.labels)
        if isinstance(family, Histogram):
            shot.edges = family.edges
            shot.series = [(labels, series.sum, series.counts) for labels, series in family.values.items()]
        elif isinstance(family, Counter | Gauge):
            shot.values = list(family.samples().items())
            shot.across = family.across if isinstance(family, Gauge) else "sum"
        shots.append(shot)
    return shots


class Totals:
    """What all workers counted together, the ended ones included."""

    def __init__(self) -> None:
        self._live: dict[Hashable, list[FamilyShot]] = {}
        self._ended = Metrics()

    def report(self, worker: Hashable, shots: list[FamilyShot]) -> None:
        """The counters of *worker* as they are now."""
        self._live[worker] = shots

    def end(self, worker: Hashable) -> None:
        """*worker* has ended: what it counted stays, what it was goes."""
        _add(self._ended, [shot for shot in self._live.pop(worker, []) if shot.kind != Gauge.kind])

    def sum(self, own: Iterable[FamilyShot] = ()) -> Metrics:
        """One registry of everybody, and *own* (the supervisor's)."""
        total = Metrics()
        for shots in (take(self._ended), *self._live.values(), list(own)):
            _add(total, shots)
        return total


def _add(total: Metrics, shots: Iterable[FamilyShot]) -> None:
    for shot in shots:
        try:
            if shot.kind == Histogram.kind:
                _add_histogram(total, shot)
            elif shot.kind == Counter.kind:
                counter = total.counter(shot.name, shot.help, shot.labels, series_max=SERIES_MAX)
                for labels, value in shot.values:
                    counter.values[labels] = counter.values.get(labels, 0.0) + value
            else:
                _add_gauge(total, shot)
        except ConfigError:  # two workers of different code disagree about a name: the first one is shown
            continue


def _add_histogram(total: Metrics, shot: FamilyShot) -> None:
    histogram = total.histogram(shot.name, shot.help, shot.labels, edges=shot.edges, series_max=SERIES_MAX)
    if histogram.edges != shot.edges:
        return  # as above: buckets that differ cannot be added
    for labels, amount, counts in shot.series:
        series = histogram.series(*labels)
        series.sum += amount
        series.counts = [held + more for held, more in zip(series.counts, counts, strict=True)]


def _add_gauge(total: Metrics, shot: FamilyShot) -> None:
    gauge = total.gauge(shot.name, shot.help, shot.labels, series_max=SERIES_MAX, across=shot.across)
    for labels, value in shot.values:
        held = gauge.values.get(labels)
        if held is None:
            gauge.values[labels] = value
        else:
            gauge.values[labels] = {"sum": held + value, "max": max(held, value), "min": min(held, value)}[shot.across]
