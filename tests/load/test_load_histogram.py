"""The histogram against sorted lists."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golive.load import Histogram

durations = st.lists(st.floats(min_value=0, max_value=3600), min_size=1, max_size=200)


def of(samples: list[float]) -> Histogram:
    histogram = Histogram()
    for sample in samples:
        histogram.record(sample)
    return histogram


@given(durations, st.floats(min_value=0, max_value=1))
def test_every_quantile_is_within_one_bucket_of_the_exact_one(samples: list[float], q: float) -> None:
    """64 buckets per power of two promise 1.6 %, and a microsecond for the smallest values."""
    exact = sorted(samples)[max(math.ceil(q * len(samples)) - 1, 0)]
    assert of(samples).quantile(q) == pytest.approx(exact, rel=1 / 64, abs=2e-6)


@given(durations, durations)
def test_merging_is_the_same_as_having_recorded_everything_in_one(left: list[float], right: list[float]) -> None:
    """Seconds merge into a run, processes into one report."""
    merged = of(left)
    merged.merge(of(right))
    assert merged.to_json() == of(left + right).to_json()


@given(durations)
def test_a_histogram_survives_json(samples: list[float]) -> None:
    """Another process can carry on with it."""
    histogram = of(samples)
    copy = Histogram.from_json(json.loads(json.dumps(histogram.to_json())))
    assert copy.to_json() == histogram.to_json()
    assert copy.summary() == histogram.summary()


@given(durations)
def test_bins_cover_every_sample(samples: list[float]) -> None:
    """Counts add up, and each bin is at most 1/64 wide."""
    bins = of(samples).bins()
    assert sum(count for _, _, count in bins) == len(samples)
    assert all(width <= max(lower / 64, 1e-6) + 1e-12 for lower, width, _ in bins)


def test_without_samples_there_is_no_figure() -> None:
    """No data is not zero."""
    histogram = Histogram()
    assert histogram.quantile(0.99) is None
    assert histogram.mean is None
    assert histogram.max is None


def test_impossible_values_are_clamped_and_counted() -> None:
    """A clock that steps back or a week-long request must not crash a run."""
    histogram = of([-1.0, 1e9])
    assert histogram.count == 2
    assert histogram.min == 0.0
    assert histogram.max == pytest.approx(2**36 / 1e6)


def test_a_quantile_outside_0_to_1_is_refused() -> None:
    """95 is not a quantile."""
    with pytest.raises(ValueError, match=r"0\.\.1"):
        of([1.0]).quantile(95)
