"""
Recorded evidence, from whatever it was recorded in: values of rows, and counters of requests, by version.

A recording is what ``golive backtest`` reads: :mod:`golive.cli.recording_csv` and
:mod:`golive.cli.recording_prometheus` make one. Rates are computed here, over the window of the row, from counters that
may begin again.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from golive.errors import UsageError, did_you_mean
from golive.slo.firing import Point
from golive.slo.row import Row

POINTS_MAX = 2_000_000
"""Beyond this a recording is cut up, not read: a year of one value every fifteen seconds."""
COUNTERS = ("requests", "errors")
"""Names beside those of rows: cumulative counters, from which error rates and the judge's verdict are computed."""
WEIGHT = "weight"
"""The candidate's share of the traffic in percent, where it was recorded."""


class RecordingError(UsageError):
    """A recording that cannot be read: *place: expected X, got Y. What to do.*"""


@dataclass
class Recording:
    """
    Attributes:
        values: by name (a row's, a counter's, or ``weight``) and version (empty: not told apart), in order of time.
        sources: where it came from, for people.
    """

    values: dict[str, dict[str, list[Point]]] = field(default_factory=lambda: defaultdict(dict))
    sources: list[str] = field(default_factory=list)

    def add(self, name: str, version: str, points: Iterable[Point], source: str) -> None:
        """
        Take a series over. Raises: RecordingError when there is one of that name and version, or it is too long.
        """
        taken = sorted(points, key=lambda point: point[0])
        if version in self.values[name]:
            who = f" of {version}" if version else ""
            raise RecordingError(f"{source}: {name}{who}: expected one series, got a second one. Leave one out.")
        self.values[name][version] = taken
        if sum(len(series) for each in self.values.values() for series in each.values()) > POINTS_MAX:
            raise RecordingError(f"{source}: expected at most {POINTS_MAX:,} values, got more. Cut the recording up.")

    @property
    def versions(self) -> list[str]:
        """Those told apart, in the order met."""
        return list(dict.fromkeys(version for each in self.values.values() for version in each if version))

    @property
    def span(self) -> tuple[float, float] | None:
        """The first and the last instant; None when there is nothing."""
        ends = [(series[0][0], series[-1][0]) for each in self.values.values() for series in each.values() if series]
        return (min(first for first, _ in ends), max(last for _, last in ends)) if ends else None

    def series(self, row: Row) -> Iterator[tuple[str, list[Point]]]:
        """Every version's values of *row*: as recorded, or computed from the counters."""
        recorded = self.values.get(row.name, {})
        yield from recorded.items()
        if recorded or row.indicator not in ("error_rate", "success_rate") or row.route or row.queue:
            return
        requests, errors = self.values.get("requests", {}), self.values.get("errors", {})
        for version, series in requests.items():
            if version in errors:
                yield version, rates(series, errors[version], row)


def rates(requests: Sequence[Point], errors: Sequence[Point], row: Row) -> list[Point]:
    """The failing (or succeeding) share over the look-back of *row* at every instant both counters have."""
    exposed, failed = growth(requests), growth(errors)
    instants = sorted(exposed.keys() & failed.keys())
    sums = [(0.0, 0.0)]
    for at in instants:
        sums.append((sums[-1][0] + exposed[at], sums[-1][1] + failed[at]))
    window = row.window.total_seconds()
    found: list[Point] = []
    for number, at in enumerate(instants, start=1):
        first = bisect_left(instants, at - window)
        total, bad = (sums[number][which] - sums[first][which] for which in (0, 1))
        share = min(bad / total, 1.0) if total > 0 else None
        found.append((at, share if share is None or row.indicator == "error_rate" else 1.0 - share))
    return found


def growth(series: Sequence[Point]) -> dict[float, float]:
    """What a counter gained at each instant. One that went down began again: what it says then is what it gained."""
    found: dict[float, float] = {}
    before: float | None = None
    for at, value in series:
        if value is None or value != value or value < 0:
            continue
        if before is not None:
            found[at] = value - before if value >= before else value
        before = value
    return found


def check_names(names: Iterable[str], rows: Iterable[str], place: str) -> None:
    """
    Raises: RecordingError when one of *names* is neither a row nor a counter.
    """
    known = [*rows, *COUNTERS, WEIGHT]
    for name in names:
        if name not in known:
            raise RecordingError(
                f"{place}: expected a row of the table, or {', '.join(COUNTERS)} or {WEIGHT}, got "
                f'"{name}"{did_you_mean(name, known) or "."} The rows are {", ".join(rows) or "none"}.'
            )
