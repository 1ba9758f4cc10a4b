"""A judge for the simulator: quick and deterministic, so that thousands of rollouts are about the controller."""

from __future__ import annotations

from typing import Any

import msgspec

from golive.rollout.machine import State
from golive.rollout.session import Snapshot


class SimpleJudge:
    """A stand-in for the judge: quick, deterministic, right enough to drive the machine. Not for production."""

    def __init__(self) -> None:
        self.base = [0, 0]

    def observe(self, snapshot: Snapshot) -> Any:
        """Half per cent more errors than usual on 300 requests is a regression, fewer is fine."""
        if snapshot.stage < 0:
            return _Answer("hold", "history")
        requests, errors = sum(snapshot.requests[1]) - self.base[0], sum(snapshot.errors[1]) - self.base[1]
        if requests < 0:
            self.base = [0, 0]
            return _Answer("hold", "the counters began again")
        if errors >= 4 and errors > 0.05 * requests:
            return _Answer("rollback", f"{errors} of {requests} requests failed")
        if requests >= 60 or snapshot.stage_age > 300:
            return _Answer("promote", f"{errors} of {requests} requests failed")
        return _Answer("hold", f"needs {60 - requests} more requests")

    def to_dict(self) -> dict[str, Any]:
        """Its state."""
        return {"base": self.base}

    @classmethod
    def make(cls, state: State, stored: dict[str, Any] | None) -> SimpleJudge:
        """See :class:`golive.rollout.session.JudgeMaker`."""
        judge = cls()
        if stored:
            judge.base = list(stored["base"])
        return judge


class _Answer(msgspec.Struct, frozen=True):
    action: str
    reason: str
    confidence: float = 50.0
    needs_human: bool = False
    rows: tuple[Any, ...] = ()
