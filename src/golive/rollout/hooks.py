"""
Hooks: the team's own commands at fixed points of a rollout. What they are; when one is due says
:mod:`golive.rollout.hooking`.

    [deployed] -> before_stage(1) -> 1 % -> after_stage(1) -> before_stage(2) -> 5 % ... -> before_promote ->
    before_stage(last) -> 100 % -> after_stage(last) -> watch -> old version removed -> after_promote
    anything wrong -> all traffic on stable -> candidate removed -> on_rollback

Each *call* of a hook is one key, (rollout, point, stage, attempt), and is started once in the life of the world,
however often a controller dies: see :mod:`golive.rollout.hook_process`.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import timedelta
from typing import Literal, Protocol

import msgspec

from golive.errors import ConfigError

HookPoint = Literal["before_stage", "after_stage", "before_promote", "after_promote", "on_rollback"]
POINTS: tuple[HookPoint, ...] = ("before_stage", "after_stage", "before_promote", "after_promote", "on_rollback")

ATTEMPTS_MAX = 3
"""How often an idempotent hook is run again by itself when nobody knows how it ended; then a person is asked."""


class Hook(msgspec.Struct, frozen=True):
    """
    A command at one point of every rollout.

    Attributes:
        timeout: after it the command and its children are ended.
        on_failure: "hold" the traffic and ask, "rollback", or "continue" as if it had succeeded. On the way back, and
            once the old version is gone, nothing is held: a failure is only told.
        idempotent: running it twice does no harm, so that it is run again when nobody knows how it ended.
    """

    point: HookPoint
    command: tuple[str, ...]
    timeout: timedelta = timedelta(minutes=5)
    on_failure: Literal["hold", "rollback", "continue"] = "hold"
    idempotent: bool = False


def check_hooks(hooks: Sequence[Hook]) -> None:
    """Raises: ConfigError for a hook without a command or a time, and for two at one point."""
    for hook in hooks:
        if not hook.command or not hook.command[0]:
            raise ConfigError(f"rollout.hooks.{hook.point}: expected a command, got none.")
        if hook.timeout <= timedelta(0):
            raise ConfigError(f"rollout.hooks.{hook.point}.timeout: expected more than 0s.")
    if len({hook.point for hook in hooks}) < len(hooks):
        raise ConfigError("rollout.hooks: expected one command for each point, got two for one.")


class HookCall(msgspec.Struct, frozen=True):
    """
    One run of a hook.

    Attributes:
        stage: index into the plan; for on_rollback the highest stage that was reached, -1 when none was.
        attempt: grows only when somebody asks for one more, or by itself when the hook is idempotent.
    """

    point: HookPoint
    stage: int
    attempt: int = 1

    @property
    def name(self) -> str:
        """``before_stage-2-1``: the call in names of files; stages counted from 1, as people do."""
        return f"{self.point}-{self.stage + 1}-{self.attempt}"


class HookOutcome(enum.StrEnum):
    """How a call ended."""

    OK = "ok"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    UNKNOWN = "unknown"
    """It began, and whoever watched over it died with the machine. Perhaps it did its work, perhaps half of it."""


class HookResult(msgspec.Struct, frozen=True):
    """
    What came of a call.

    Attributes:
        said: for a sentence that begins with the hook: "exited with 1", "exited with 0".
        output: the end of what it printed.
    """

    outcome: HookOutcome
    said: str
    output: str = ""


class HookOrder(msgspec.Struct, frozen=True):
    """
    A call as it is run.

    Attributes:
        rollout: with *call* the key under which it runs once.
        environment: added to the controller's own.
    """

    rollout: str
    call: HookCall
    command: tuple[str, ...]
    timeout: timedelta
    environment: dict[str, str]


class HookRunner(Protocol):
    """Runs hooks. What it started outlives the controller, and the next controller finds its end."""

    async def run(self, order: HookOrder) -> HookResult:
        """
        Start the call, or find the one that was started under the same key, and wait for its end. Cancelling the wait
        does not end the hook.

        Raises: GoliveError when it cannot be started at all.
        """
        ...
