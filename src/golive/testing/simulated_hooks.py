"""
Hooks in the simulated world: they take their time, fail, or are lost together with the controller that waited for them.

The world remembers every call that began, in whatever life of the controller, and stops the simulation when one is
begun that must not be.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from golive.rollout import events as ev
from golive.rollout.hooks import POINTS, Hook, HookCall, HookOrder, HookOutcome, HookResult
from golive.rollout.journal import Entry
from golive.rollout.machine import State
from golive.rollout.plan import Plan

if TYPE_CHECKING:
    from golive.testing.simulated_life import Incarnation
    from golive.testing.simulated_world import World

_NEW = "v2"


class Run(msgspec.Struct):
    """One call that began."""

    call: HookCall
    ends_at: float
    outcome: HookOutcome


class HookRecord:
    """Every call that ever began in this world, by its key."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.runs: dict[tuple[str, str], Run] = {}

    def begin(self, order: HookOrder) -> Run:
        """A hook begins. Checks that it may."""
        world = self.world
        stored = world.journal.active("web")
        if stored is None or stored[0].hook != order.call:
            world.fail(f"{order.call.name} began and the journal does not say so")
        for run in self.runs.values():
            if run.ends_at > world.now() and run.outcome is not HookOutcome.UNKNOWN:
                world.fail(f"{order.call.name} began while {run.call.name} runs")
            if (run.call.point, run.call.stage) == (order.call.point, order.call.stage):
                self._check_again(run, order)
        if order.call.point == "on_rollback" and (world.split.weight or world.split.stable == _NEW):
            world.fail("what was done is undone while the candidate has traffic")
        fails = world.random.random() < world.faults.hook_fails
        outcome = HookOutcome.FAILED if fails else HookOutcome.OK
        run = Run(order.call, world.now() + world.random.uniform(0, 20), outcome)
        self.runs[(order.rollout, order.call.name)] = run
        return run

    def _check_again(self, before: Run, order: HookOrder) -> None:
        name, asked = order.call.name, self._asked(order)
        if before.call == order.call:
            self.world.fail(f"{name} ran twice")
        if before.outcome is HookOutcome.OK and before.ends_at <= self.world.now():
            self.world.fail(f"{name} runs again after it had succeeded")
        if before.outcome is not HookOutcome.OK and not asked and not self._idempotent(order):
            self.world.fail(f"{name} runs again and nobody asked for it")

    def _asked(self, order: HookOrder) -> bool:
        return any(isinstance(entry.event, ev.Retried) for entry in self.world.journal.entries(order.rollout))

    def _idempotent(self, order: HookOrder) -> bool:
        plan = self.world.journal.rollout(order.rollout).plan
        return any(hook.idempotent for hook in plan.hooks if hook.point == order.call.point)

    def lose(self) -> None:
        """The controller is killed, and with it, perhaps, the machine on which its hooks run."""
        for run in self.runs.values():
            if run.ends_at > self.world.now() and self.world.random.random() < self.world.faults.hook_lost:
                run.outcome = HookOutcome.UNKNOWN


class SimulatedHooks:
    """See :class:`golive.rollout.hooks.HookRunner`. Of one life of the controller."""

    def __init__(self, life: Incarnation) -> None:
        self.life = life

    async def run(self, order: HookOrder) -> HookResult:
        """See :class:`golive.rollout.hooks.HookRunner`."""
        await self.life.hang()
        world = self.life.world
        key = (order.rollout, order.call.name)
        if key not in world.hooks.runs:
            await self.life.arrive(f"before hook {order.call.name}")
            if key not in world.hooks.runs:  # of two that begin it one gets the claim
                world.hooks.begin(order)
            await self.life.arrive(f"after hook {order.call.name}")
        run = world.hooks.runs[key]
        while run.ends_at > world.now() and run.outcome is not HookOutcome.UNKNOWN:  # noqa: ASYNC110 - the fates change it
            await asyncio.sleep(0.5)
        await self.life.hang()
        return HookResult(run.outcome, f"ended {run.outcome}")


def examine_hooks(world: World, state: State, entries: Sequence[Entry]) -> None:
    """No stage was entered before the hook it waits for had succeeded, or somebody let it pass; no key ended twice."""
    ended = [entry.event.call for entry in entries if isinstance(entry.event, ev.HookEnded)]
    if len(set(ended)) != len(ended):
        world.fail(f"a hook ended twice: {ended}")
    hook = next((hook for hook in state.plan.hooks if hook.point == "before_stage"), None)
    if hook is None or hook.on_failure == "continue":
        return
    good: set[int] = set()
    for before, entry in itertools.pairwise(entries):
        event = entry.event
        if isinstance(event, ev.HookEnded) and event.call.point == "before_stage" and event.outcome is HookOutcome.OK:
            good.add(event.call.stage)
        if isinstance(event, ev.Approved):
            good.add(entry.stage + 1)
            good.add(entry.stage)
        if entry.weight > before.weight and entry.stage not in good:
            world.fail(f"the weight rose to {entry.weight} before the hook of its stage had succeeded")


def with_hooks(plan: Plan, seed: int) -> Plan:
    """*plan* with hooks drawn from *seed*."""
    dice = random.Random(seed * 17 + 3)  # noqa: S311 - repeatable on purpose
    hooks = [
        Hook(
            point,
            ("hook",),
            timedelta(seconds=60),
            dice.choice(("hold", "hold", "rollback", "continue")),
            dice.random() < 0.3,
        )
        for point in POINTS
        if dice.random() < 0.7
    ]
    return msgspec.structs.replace(plan, hooks=tuple(hooks))
