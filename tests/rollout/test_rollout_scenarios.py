"""The machine's behaviour, as told in tests/scenarios."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SCENARIOS = sorted((HERE.parent / "scenarios").glob("*.txt"))

_spec = importlib.util.spec_from_file_location("scenario", HERE / "scenario.py")
assert _spec is not None
assert _spec.loader is not None
scenario = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(scenario)


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_the_machine_does_what_the_scenario_says(path: Path) -> None:
    """Each file tells one situation; the machine's answers are exactly those written there."""
    told = scenario.play(path)
    if os.environ.get("GOLIVE_REWRITE"):
        path.write_text(told)
    assert told == path.read_text()


def test_there_are_scenarios() -> None:
    """A glob that finds nothing must not pass for a green suite."""
    assert len(SCENARIOS) >= 20
