"""The report itself."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from vpr.report import value_proposition


def test_what_both_have_in_common_comes_strongest_first() -> None:
    """By how often the advertisement says it."""
    assert value_proposition("sql python", "python sql sql")["matches"] == ["sql", "python"]


def test_filler_is_no_match() -> None:
    """Everybody writes "and"."""
    assert value_proposition("and the", "and the") == {"matches": [], "metRatio": 0.0}


def test_an_empty_advertisement_asks_for_nothing() -> None:
    """And divides by nothing."""
    assert value_proposition("python", "")["metRatio"] == 0.0
