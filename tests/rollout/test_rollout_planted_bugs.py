"""Bugs planted on purpose are found: a few here, every one in `make prove-simulator`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("planted", Path(__file__).parent / "planted.py")
assert _spec is not None
assert _spec.loader is not None
planted = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(planted)
SOURCES = Path(planted.__file__).parents[2] / "src" / "golive" / "rollout"

SOON = [
    "A stage is entered without its approval.",
    "A hook that is over runs again.",
    "The gateway is told without the controller's own token.",
]


@pytest.mark.parametrize("sentence", SOON)
def test_a_planted_bug_is_found_by_the_simulation(sentence: str) -> None:
    """In a process of its own, by a seed of the simulator, not by a test that was written for it."""
    number = next(number for number, bug in enumerate(planted.BUGS) if bug.sentence == sentence)
    found, who = planted.try_one(number)
    assert found, who
    assert "test_" not in who, who


@pytest.mark.parametrize("bug", planted.BUGS, ids=lambda bug: bug.sentence)
def test_every_planted_bug_still_fits_the_code(bug: object) -> None:
    """Its place is there once; a bug that no longer fits proves nothing."""
    source = (SOURCES / f"{bug.module}.py").read_text()
    assert source.count(bug.before) == 1
    assert bug.before != bug.after
