"""
A log-linear histogram of durations: 64 buckets per power of two, so no value is off by more than 1/64 (1.6 %).

Counts live in one flat list of integers. Recording is one index and one addition, merging is element-wise addition, and
the bins have the shape the gateway's own histograms have, so that figures from both can be put side by side.
Values are kept in microseconds; everything public speaks seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_SUB = 64
_SUB_BITS = 7  # values below 2 * _SUB have a bucket of their own
_VALUE_MAX = (1 << 36) - 1  # 19 hours in microseconds: longer than any time-out we accept
_SIZE = (36 - _SUB_BITS) * _SUB + 2 * _SUB

#: The quantiles every report prints.
QUANTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99, "p999": 0.999}


class Histogram:
    """
    Durations in seconds; mergeable; constant memory (about 2,000 counters).

    Attributes:
        count: samples recorded.
    """

    __slots__ = ("_counts", "_max", "_min", "_sum", "count")

    def __init__(self) -> None:
        self._counts = [0] * _SIZE
        self.count = 0
        self._sum = 0
        self._min = _VALUE_MAX
        self._max = 0

    def record(self, seconds: float) -> None:
        """Add one sample. Negative durations count as zero, those over 19 hours as 19 hours."""
        value = int(seconds * 1e6)
        if value < 0:
            value = 0
        elif value > _VALUE_MAX:
            value = _VALUE_MAX
        shift = value.bit_length() - _SUB_BITS
        if shift < 0:
            shift = 0
        self._counts[shift * _SUB + (value >> shift)] += 1
        self.count += 1
        self._sum += value
        if value < self._min:
            self._min = value
        if value > self._max:
            self._max = value

    def merge(self, other: Histogram) -> None:
        """Add every sample of *other*."""
        if not other.count:
            return
        self._counts = [mine + theirs for mine, theirs in zip(self._counts, other._counts, strict=True)]
        self.count += other.count
        self._sum += other._sum
        self._min = min(self._min, other._min)
        self._max = max(self._max, other._max)

    def quantile(self, q: float) -> float | None:
        """
        The smallest duration that at least a share *q* of the samples do not exceed, in seconds; None without samples.

        Interpolated inside the bucket, never beyond the smallest and largest sample seen; ``quantile(1)`` is exact.

        Raises: ValueError unless 0 <= q <= 1.
        """
        if not 0.0 <= q <= 1.0:
            raise ValueError(f"expected a quantile in 0..1, got {q!r}")
        if not self.count:
            return None
        if q == 1.0:
            return self._max / 1e6
        rank = max(q * self.count, 1.0)
        seen = 0
        for lower, width, count in self._filled():
            if seen + count >= rank:
                value = lower + width * (rank - seen) / count
                return min(max(value, self._min), self._max) / 1e6
            seen += count
        raise AssertionError("the buckets hold as many samples as were counted")

    @property
    def mean(self) -> float | None:
        """Exact to the microsecond, in seconds; None without samples."""
        return self._sum / self.count / 1e6 if self.count else None

    @property
    def max(self) -> float | None:
        """The longest sample, in seconds; None without samples."""
        return self._max / 1e6 if self.count else None

    @property
    def min(self) -> float | None:
        """The shortest sample, in seconds; None without samples."""
        return self._min / 1e6 if self.count else None

    def bins(self) -> list[tuple[float, float, int]]:
        """The non-empty buckets as (lower bound, width, count), bounds and widths in seconds."""
        return [(lower / 1e6, width / 1e6, count) for lower, width, count in self._filled()]

    def summary(self) -> dict[str, float | int | None]:
        """The figures of a report: ``p50_seconds`` .. ``p999_seconds``, mean, max and count."""
        figures: dict[str, float | int | None] = {
            f"{name}_seconds": _rounded(self.quantile(q)) for name, q in QUANTILES.items()
        }
        return figures | {"mean_seconds": _rounded(self.mean), "max_seconds": _rounded(self.max), "count": self.count}

    def to_json(self) -> dict[str, Any]:
        """Everything needed to :meth:`from_json` it back in another process."""
        buckets = {str(index): count for index, count in enumerate(self._counts) if count}
        return {"buckets": buckets, "sum": self._sum, "min": self._min, "max": self._max}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Histogram:
        """The inverse of :meth:`to_json`."""
        histogram = cls()
        for index, count in document["buckets"].items():
            histogram._counts[int(index)] = int(count)
        histogram.count = sum(histogram._counts)
        histogram._sum, histogram._min, histogram._max = document["sum"], document["min"], document["max"]
        return histogram

    def _filled(self) -> Iterable[tuple[int, int, int]]:
        for index, count in enumerate(self._counts):
            if count:
                shift = max(index // _SUB - 1, 0)
                yield (index - shift * _SUB) << shift, 1 << shift, count


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
