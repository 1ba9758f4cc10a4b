"""A rollout as it really happens: the real controller, machine, journal and judge, in a world of virtual time."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from golive.rollout.judge import Judge
from golive.rollout.machine import State, replay
from golive.rollout.plan import Stage, make_plan
from golive.testing import simulator
from golive.testing.simulator import Faults

SLO = {"error_rate": {"target": "<= 1%", "alert_if": "> 2%"}, "latency_p95": {"target": "< 500ms", "alert_if": "> 1s"}}
JUDGING = {"slo": SLO, "tick_s": 10.0, "pace": "demo", "options": {}}


def make_test_judge(state: State, stored: dict[str, Any] | None) -> Judge:
    """As :func:`golive.wiring.make_judge`, for the three latency buckets of the simulator's gateway."""
    if stored is not None:
        return Judge.from_dict(stored)
    floors = [stage.floor.total_seconds() for stage in state.plan.stages]
    return Judge(
        plan=state.plan.weights, slo=SLO, tick_s=10.0, histogram_bounds=(0.1, 1.0), routes=("*",), pace="demo",
        floor_s=floors,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Clock times in goldens are UTC, and the terminal is nobody's in particular."""
    monkeypatch.setenv("TZ", "UTC")
    for name in ("LC_ALL", "LC_CTYPE", "LANG", "NO_COLOR", "CLICOLOR_FORCE"):
        monkeypatch.delenv(name, raising=False)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


class Journey(list[Any]):
    """The entries of a rollout, which can be cut at a moment and looked at as the command line would then."""

    def until(self, phase: str, stage: int, *, verdicts: int = 0) -> Journey:
        """Up to the entry that entered *phase* of *stage*, and so many verdicts more."""
        first = next(i for i, e in enumerate(self) if e.phase == phase and e.stage == stage)
        return Journey(self[: first + 1 + verdicts])

    @property
    def state(self) -> State:
        """Where the rollout is after the last of these entries, with the SLO table a real one carries."""
        state = replay([entry.event for entry in self])
        return msgspec.structs.replace(state, judging=JUDGING)


def ship(faults: Faults, *, seed: int = 7, approvals: Sequence[str | None] = (None,) * 4) -> Journey:
    """The entries of one played rollout."""
    stages = [
        Stage(weight * 100, timedelta(minutes=2), timedelta(hours=1), group)
        for weight, group in zip((5, 25, 50, 100), approvals, strict=True)
    ]
    shipped = make_plan(stages, watch=timedelta(seconds=60))
    return Journey(simulator.simulate(seed, faults, shipped, make_test_judge).entries)


GOLDENS = Path(__file__).parent / "goldens"


def check_golden(name: str, text: str) -> None:
    """Compare with the golden file of that name; GOLIVE_REWRITE=1 writes it instead."""
    path = GOLDENS / f"{name}.txt"
    if os.environ.get("GOLIVE_REWRITE"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text + "\n")
    assert text + "\n" == path.read_text(), f"{path.name} differs; if that is right, run with GOLIVE_REWRITE=1"


@pytest.fixture(scope="session")
def journey() -> Any:
    """See :func:`ship`."""
    return ship


@pytest.fixture(scope="session")
def judges() -> Any:
    """See :func:`make_test_judge`."""
    return make_test_judge


@pytest.fixture
def golden() -> Any:
    """See :func:`check_golden`."""
    return check_golden
