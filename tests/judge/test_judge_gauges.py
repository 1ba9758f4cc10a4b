"""Rows that are a level: four bad looks of the last five, while stable was bad in one at most; not one less."""

from __future__ import annotations

import itertools

import pytest

from golive.rollout.judge.gauges import Gauges
from golive.slo.row import Row, Verdict
from golive.slo.table import parse_table

FINE, BEYOND = 0.5, 0.95
LOOKS = list(itertools.product((FINE, BEYOND), repeat=2))
"""What one look may have found: the level of stable, and of the canary."""


@pytest.fixture(scope="module")
def row() -> Row:
    """A level with an alarm."""
    return parse_table({"memory_ratio": {"target": "< 0.8", "alert_if": "> 0.9"}})["memory_ratio"]


def verdict_after(row: Row, looks: tuple[tuple[float, float], ...]) -> Verdict:
    """The verdict after *looks*, oldest first."""
    gauges = Gauges()
    for levels in looks:
        gauges.look(row, list(levels))
    return gauges.verdict(row)[0]


def test_a_level_fails_at_four_bad_looks_of_five_and_never_at_fewer(row: Row) -> None:
    """Every series of five looks there is, after one that no longer counts, against the words of the documentation."""
    ends = set()
    for last in itertools.product(LOOKS, repeat=5):
        bad, stable_bad = (sum(levels[which] == BEYOND for levels in last) for which in (1, 0))
        verdict = verdict_after(row, ((BEYOND, BEYOND), *last))
        assert (verdict is Verdict.FAIL) == (bad >= 4 and stable_bad <= 1), last
        ends.add(verdict)
    assert ends == {Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL}


@pytest.mark.parametrize("count", range(1, 7))
def test_a_level_that_is_beyond_from_the_start_fails_at_the_fourth_look(row: Row, count: int) -> None:
    """Three are not yet a pattern; until then the row is open, and does not pass."""
    expected = Verdict.FAIL if count >= 4 else Verdict.INCONCLUSIVE
    assert verdict_after(row, ((FINE, BEYOND),) * count) is expected


def test_a_look_that_found_nothing_is_no_look(row: Row) -> None:
    """Neither good nor bad: it pushes no other look out, and makes no pattern."""
    gauges = Gauges()
    for levels in [(FINE, BEYOND)] * 3 + [(None, BEYOND), (FINE, None), (None, None)] * 4:
        gauges.look(row, list(levels))
    assert gauges.verdict(row)[0] is not Verdict.FAIL
    gauges.look(row, [FINE, BEYOND])
    assert gauges.verdict(row)[0] is Verdict.FAIL
