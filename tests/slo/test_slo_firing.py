"""When an alarm would have been on."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golive.slo.firing import firing
from golive.slo.row import Row, Verdict
from golive.slo.table import parse_table


def row(**conditions: str) -> Row:
    return parse_table({"error_rate": conditions or {"target": "<= 1%", "alert_if": "> 2%"}})["error_rate"]


def test_an_episode_lasts_as_long_as_the_alarm_is_true():
    """Between target and alarm it is off; a missing value neither ends nor begins one."""
    values = [0.0, 0.03, None, 0.05, 0.015, 0.5, math.nan, 0.4]
    found = firing(row(), list(enumerate(values)))
    assert [(e.began, e.ended, e.points, e.worst) for e in found.episodes] == [(1, 3, 2, 0.05), (5, 7, 2, 0.5)]
    assert (found.points, found.unusable, found.passed) == (6, 2, 1)
    assert (found.worst, found.worst_at) == (0.5, 5)
    assert found.episodes[0].seconds == 2


def test_a_success_rate_is_worst_where_it_is_lowest():
    """The direction is the target's."""
    good = parse_table({"success_rate": {"target": "> 99%", "alert_if": "< 98%"}})["success_rate"]
    found = firing(good, [(0, 1.0), (1, 0.97), (2, 0.5), (3, 1.0)])
    assert (found.worst, found.worst_at, found.episodes[0].worst) == (0.5, 2, 0.5)


@pytest.mark.parametrize("value", [1.4, -0.1])
def test_what_cannot_be_a_share_is_no_value(value: float):
    """It proves nothing in either direction."""
    found = firing(row(), [(0, value)])
    assert (found.points, found.unusable, found.episodes, found.worst) == (0, 1, (), None)


def test_without_an_alarm_the_target_is_the_limit():
    """As everywhere in the table."""
    assert len(firing(row(target="<= 1%"), [(0, 0.011)]).episodes) == 1


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=60))
def test_episodes_are_exactly_the_points_at_which_the_row_fails(values: list[float | None]):
    """Against the slow and obvious way."""
    found = firing(row(), list(enumerate(values)))
    failing = [at for at, value in enumerate(values) if row().judge(value).verdict is Verdict.FAIL]
    covered = [at for e in found.episodes for at in range(int(e.began), int(e.ended) + 1) if values[at] is not None]
    assert covered == failing
    assert sum(e.points for e in found.episodes) == len(failing)
    assert found.points + found.unusable == len(values)
