"""A rollout as it really happens: the real controller, machine, journal and judge, in a world of virtual time."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from golive.rollout.journal import Journal
from golive.rollout.judge import Action, Decision, Judge, RowVerdict
from golive.rollout.lease import Lease
from golive.rollout.machine import State, replay
from golive.rollout.plan import Stage, make_plan
from golive.rollout.session import Snapshot
from golive.slo.row import Verdict
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
        floor_s=floors, ceiling_s=[3600.0] * len(floors),
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


class PlainJudge:
    """A judge whose words never change: goldens of views must not move when the real one is tuned."""

    def __init__(self) -> None:
        self.seen: dict[str, Any] = {}

    def observe(self, snapshot: Snapshot) -> Decision:
        """Too many failures are a regression, sixty requests are enough."""
        (stable, canary), (bad, failed) = (
            [sum(arm) for arm in counters] for counters in (snapshot.requests, snapshot.errors)
        )
        self.seen = {
            "t": snapshot.t, "requests": snapshot.requests, "errors": snapshot.errors, "latency": snapshot.latency
        }  # fmt: skip
        broken = failed >= 8 and failed > 0.02 * canary
        action = "rollback" if broken else "promote" if canary >= 60 and snapshot.stage_age >= 110 else "hold"
        verdict = "FAIL" if broken else "PASS" if canary >= 60 else "INCONCLUSIVE"
        figures = f"canary {failed} of {canary:,}, stable {bad} of {stable:,}"
        rows = (
            RowVerdict("error_rate", Verdict(verdict), f"error_rate: {figures} (target <= 1%, alert if > 2%)."),
            RowVerdict("latency_p95", Verdict("INCONCLUSIVE"), "latency_p95: not ruled out yet, needs more requests."),
        )
        short = f"needs about {60 - canary} more requests" if canary < 60 else "the stage has to last its time"
        said = {"rollback": f"roll back: failed requests: {figures}", "promote": "promote: sixty requests are enough"}
        return Decision(Action(action), min(canary / 6, 99.0), rows, said.get(action, f"hold: {short}") + ".")

    def to_dict(self) -> dict[str, Any]:
        """Its state, with the parts of the real judge's that views read."""
        return {"reader": self.seen or None, "settings": {"histogram_bounds": [0.1, 1.0], "routes": ["*"]}}

    @classmethod
    def make(cls, _state: State, stored: dict[str, Any] | None) -> PlainJudge:
        """See :class:`golive.rollout.session.JudgeMaker`."""
        judge = cls()
        judge.seen = (stored or {}).get("reader") or {}
        return judge


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


def ship(
    faults: Faults, *, seed: int = 7, approvals: Sequence[str | None] = (None,) * 4, plain: bool = False
) -> Journey:
    """The entries of one played rollout; *plain*: judged by :class:`PlainJudge`."""
    maker = PlainJudge.make if plain else make_test_judge
    stages = [
        Stage(weight * 100, timedelta(minutes=2), timedelta(hours=1), group)
        for weight, group in zip((5, 25, 50, 100), approvals, strict=True)
    ]
    shipped = make_plan(stages, watch=timedelta(seconds=60), on_inconclusive="rollback")  # it always ends
    return Journey(simulator.simulate(seed, faults, shipped, maker).entries)


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


@pytest.fixture(scope="session")
def plain_judges() -> Any:
    """See :class:`PlainJudge`."""
    return PlainJudge.make


@pytest.fixture
def golden() -> Any:
    """See :func:`check_golden`."""
    return check_golden


def keep_journal(folder: Path, entries: Sequence[Any]) -> None:
    """A project of *folder* whose journal holds the rollout *entries*."""
    (folder / ".golive").mkdir()
    journal = Journal(folder / ".golive" / "golive.db")
    lease = Lease(journal.connection, "web")
    lease.acquire(datetime.now(UTC))
    events: list[Any] = []
    for entry in entries:
        events.append(entry.event)
        journal.append(entry.event, replay(events), None, fence=lease.fence)
    lease.release(datetime.now(UTC))
    journal.close()


@pytest.fixture(scope="session")
def keep() -> Any:
    """See :func:`keep_journal`."""
    return keep_journal
