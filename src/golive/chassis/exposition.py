"""
The metrics as text, in the two formats scrapers ask for.

Prometheus text 0.0.4 by default, OpenMetrics 1.0 when ``Accept`` asks for it. Rendering yields chunks, so that a
scrape of thousands of series gives way to requests in between and never holds the event loop for long.
Source: prometheus.io/docs/instrumenting/exposition_formats, prometheus.io/docs/specs/om.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from golive.chassis.log import LogSink, timestamp
from golive.chassis.metrics import Counter, Family, Gauge, Histogram, HistogramSeries, Labels, Metrics

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

#: The last numbers of a process, in lines of the log: as many series, in pieces that a pipe takes whole.
SNAPSHOT_SERIES_MAX, SNAPSHOT_LINE_BYTES = 2000, 3000

#: Lines between two chances for the event loop; about a millisecond of work.
CHUNK_LINES = 500

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
_HELP_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n"})


def log_snapshot(metrics: Metrics, log: LogSink) -> int:
    """
    Write the numbers of this process down before it ends, without the buckets of histograms.

    In ``metrics_snapshot`` lines that are short enough for a pipe that processes share; what is more than
    :data:`SNAPSHOT_SERIES_MAX` series is counted in the last one.

    Returns: the bytes of the whole exposition.
    """
    lines = "".join(render(metrics, openmetrics=False)).splitlines()
    kept = [line.rpartition(" ") for line in lines if line[0] != "#" and "_bucket{" not in line]
    part: dict[str, float] = {}
    parts, size = [part], 0
    for name, _, value in kept[:SNAPSHOT_SERIES_MAX]:
        if size + len(name) > SNAPSHOT_LINE_BYTES and part:
            part, size = {}, 0
            parts.append(part)
        part[name] = float(value)
        size += len(name) + 16
    for number, series in enumerate(parts, start=1):
        record = {"ts": timestamp(time.time()), "level": "info", "event": "metrics_snapshot", "part": number}
        left_out = len(kept) - SNAPSHOT_SERIES_MAX if number == len(parts) else 0
        log.record({**record, "parts": len(parts), "left_out": max(0, left_out), "series": series})
    return sum(len(line) + 1 for line in lines)


def wants_openmetrics(accept: str) -> bool:
    """Whether an ``Accept`` header asks for OpenMetrics; anything unknown gets the plain text."""
    return "application/openmetrics-text" in accept


def render(metrics: Metrics, *, openmetrics: bool) -> Iterator[str]:
    """The whole exposition in chunks of about :data:`CHUNK_LINES` lines."""
    chunk: list[str] = []
    for family in metrics:
        chunk.extend(_head(family, openmetrics))
        for lines in _samples(family):
            chunk.extend(lines)
            if len(chunk) >= CHUNK_LINES:
                yield "\n".join(chunk) + "\n"
                chunk = []
    if openmetrics:
        chunk.append("# EOF")
    if chunk:
        yield "\n".join(chunk) + "\n"


def _head(family: Family, openmetrics: bool) -> tuple[str, str]:
    """OpenMetrics names a counter's family without ``_total``; the text format with it."""
    name = family.name.removesuffix("_total") if openmetrics and isinstance(family, Counter) else family.name
    return (f"# HELP {name} {family.help.translate(_HELP_ESCAPES)}", f"# TYPE {name} {family.kind}")


def _samples(family: Family) -> Iterator[list[str]]:
    if isinstance(family, Histogram):
        for labels, series in list(family.values.items()):
            yield _histogram_lines(family, labels, series)
    elif isinstance(family, Counter | Gauge):
        yield from _plain(family, family.samples())


def _plain(family: Family, values: dict[Labels, float]) -> Iterator[list[str]]:
    for labels, value in list(values.items()):
        yield [f"{family.name}{_braces(_pairs(family.labels, labels))} {_number(value)}"]


def _histogram_lines(family: Histogram, labels: Labels, series: HistogramSeries) -> list[str]:
    pairs = _pairs(family.labels, labels)
    lead = f"{pairs}," if pairs else ""
    lines, seen = [], 0
    for edge, count in zip((*series.edges, float("inf")), series.counts, strict=True):
        seen += count
        lines.append(f'{family.name}_bucket{{{lead}le="{_edge(edge)}"}} {seen}')
    braces = _braces(pairs)
    return [*lines, f"{family.name}_sum{braces} {_number(series.sum)}", f"{family.name}_count{braces} {seen}"]


def _pairs(names: Labels, values: Labels) -> str:
    return ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in zip(names, values, strict=True))


def _braces(pairs: str) -> str:
    return f"{{{pairs}}}" if pairs else ""


def _number(value: float) -> str:
    """Go's spelling of infinities; whole numbers without a fraction."""
    if value == float("inf"):
        return "+Inf"
    if value == float("-inf"):
        return "-Inf"
    if value != value:
        return "NaN"
    return repr(float(value)) if not float(value).is_integer() or abs(value) > 1e15 else f"{int(value)}"


def _edge(value: float) -> str:
    """OpenMetrics wants edges as canonical floats (``1.0``); the same spelling in both formats keeps series equal."""
    return "+Inf" if value == float("inf") else repr(float(value))
