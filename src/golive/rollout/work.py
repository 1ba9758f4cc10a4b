"""
Doing what the machine asks: one coroutine per command, each safe to repeat, each ending in an event.

A coroutine tries until it succeeds or is cancelled because the machine no longer asks for it; the machine is told of
the first failure, not of every one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime

from golive.errors import GoliveError
from golive.rollout import events as ev
from golive.rollout.commands import Command, Deploy, Observe, Remove, RunHook, Shift, Wake
from golive.rollout.hooks import HookCall, HookOrder, HookOutcome, HookResult, HookRunner
from golive.rollout.machine import State
from golive.rollout.pace import Pace
from golive.rollout.ports import Arm, Deployer, FencedError, Gatekeeper, Health, Router, Split, percent
from golive.timing import Clock, format_duration

Tell = Callable[[ev.AnyEvent], None]

_STARTING_POLL_SECONDS = 0.1
_DRAIN_POLL_SECONDS = 0.05


class World:
    """
    The ports, and the commands performed on them.

    Args:
        fence: the token of the controller's lease, read at every write.
        tell: where events go.
    """

    def __init__(
        self,
        router: Router,
        deployer: Deployer,
        clock: Clock,
        pace: Pace,
        *,
        fence: Callable[[], int],
        tell: Tell,
        gatekeeper: Gatekeeper | None = None,
        hooks: HookRunner | None = None,
    ) -> None:
        self.router = router
        self.deployer = deployer
        self.clock = clock
        self.pace = pace
        self.fence = fence
        self.tell = tell
        self.gatekeeper = gatekeeper
        self.hooks = hooks

    def perform(self, command: Command, state: State) -> Awaitable[None]:
        """The coroutine that does *command* on behalf of *state*."""
        match command:
            case Deploy():
                return self._deploy(command.version, state)
            case Shift():
                return self._shift(command.split, state)
            case Wake():
                return self._wake(command.at)
            case Remove():
                return self._remove(command.version)
            case RunHook():
                return self._run_hook(command.call, state)
            case Observe():
                return _idle()  # the sampling loop looks at what is wanted; there is nothing to start

    # ---- commands

    async def _deploy(self, version: str, state: State) -> None:
        """A candidate gets one chance; stable is tried until it is back."""
        async for _ in self._attempts():
            try:
                await self.bring_up(version)
                await self._ask_gates(version, state)
            except FencedError:
                raise
            except GoliveError as error:
                no_go = isinstance(error, RefusedByGatesError)
                self.tell(ev.DeployFailed(at=self.clock.now(), version=version, reason=str(error), no_go=no_go))
                if version == state.candidate:
                    return
            else:
                self.tell(ev.Deployed(at=self.clock.now(), version=version))
                return

    async def bring_up(self, version: str) -> Arm:
        """
        Have *version*, whose release was prepared before, running, ready, and known to the gateway.

        Raises: GoliveError saying what stood in the way.
        """
        arm = await self.deployer.start(version, fence=self.fence())
        await self._until_ready(version)
        await self.router.ensure([arm], fence=self.fence())
        return arm

    async def _until_ready(self, version: str) -> None:
        deadline = self.clock.monotonic() + self.pace.ready.total_seconds()
        while True:
            condition = await self.deployer.condition(version)
            if condition.health is Health.READY:
                return
            if condition.health is Health.DEAD:
                raise NotReadyError(condition.reason or "its process ended")
            if self.clock.monotonic() >= deadline:
                raise NotReadyError(f"not ready after {format_duration(self.pace.ready)}: {condition.reason}")
            await self.clock.sleep(_STARTING_POLL_SECONDS)

    async def _ask_gates(self, version: str, state: State) -> None:
        if self.gatekeeper is None or version != state.candidate:
            return
        arm = next(arm for arm in self.deployer.running() if arm.version == version)
        verdict = await self.gatekeeper.check(arm)
        if not verdict.go:
            raise RefusedByGatesError(verdict.sentence)

    async def _shift(self, split: Split, state: State) -> None:
        told = False
        async for _ in self._attempts():
            try:
                if not await self._can_take_it(split, state):
                    continue
                await self.router.apply(split, fence=self.fence())
            except FencedError:
                raise
            except GoliveError as error:
                if not told:
                    self.tell(ev.TrafficUnconfirmed(at=self.clock.now(), reason=str(error)))
                told = True
            else:
                self.tell(ev.TrafficConfirmed(at=self.clock.now(), split=split))
                return

    async def _can_take_it(self, split: Split, state: State) -> bool:
        """
        Whether the version that gets more of the traffic is there, asked right before the write. When it is not, the
        machine hears of it: a dead stable is revived before anybody is sent there, a candidate that is unwell is
        probed three times and then taken back. With both dead there is nothing to lose.
        """
        back = split.candidate is None and split.stable == state.stable
        version = state.stable if back else state.candidate
        if back and not (state.candidate_alive and state.stage >= 0):
            return True
        condition = await self.deployer.condition(version)
        fit = condition.health is not Health.DEAD if back else condition.health is Health.READY
        if not fit:
            dead = condition.health is Health.DEAD
            self.tell(
                ev.Probed(at=self.clock.now(), version=version, healthy=False, dead=dead, reason=condition.reason)
            )
        return fit

    async def _wake(self, at: datetime) -> None:
        while (left := (at - self.clock.now()).total_seconds()) > 0:
            await self.clock.sleep(left)
        self.tell(ev.Ticked(at=self.clock.now()))

    async def _remove(self, version: str) -> None:
        leftovers = await self._drain(version)
        async for _ in self._attempts():
            try:
                if leftovers:  # their grace is over; the gateway forgets no version that still answers somebody
                    await self.deployer.stop(version, fence=self.fence())
                await self.router.retire(version, fence=self.fence())
                await self.deployer.stop(version, fence=self.fence())
            except FencedError:
                raise
            except GoliveError:
                continue
            else:
                self.tell(ev.Removed(at=self.clock.now(), version=version, leftovers=leftovers))
                return

    async def _drain(self, version: str) -> int:
        """Wait for the requests in flight; the number of those that had to be left, 0 when all were answered."""
        deadline = self.clock.monotonic() + self.pace.drain.total_seconds()
        while self.clock.monotonic() < deadline:
            try:
                active = await self.router.active(version)
            except GoliveError:
                active = 1  # unknown is not zero
            if active == 0:
                return 0
            await self.clock.sleep(_DRAIN_POLL_SECONDS)
        try:
            return await self.router.active(version)
        except GoliveError:
            return 0

    async def _run_hook(self, call: HookCall, state: State) -> None:
        try:
            result = await self._hook_result(order_of(call, state))
        except (GoliveError, OSError) as error:
            result = HookResult(HookOutcome.FAILED, f"could not be started: {error}")
        self.tell(
            ev.HookEnded(at=self.clock.now(), call=call, outcome=result.outcome, said=result.said, output=result.output)
        )

    async def _hook_result(self, order: HookOrder) -> HookResult:
        if self.hooks is None:
            return HookResult(HookOutcome.FAILED, "was not run: this controller runs no hooks")
        return await self.hooks.run(order)

    async def _attempts(self) -> AsyncIterator[int]:
        """Endless attempts with growing pauses between them."""
        pause = self.pace.retry
        number = 0
        while True:
            yield number
            number += 1
            await self.clock.sleep(pause.total_seconds())
            pause = min(pause * 2, self.pace.retry_max)


def order_of(call: HookCall, state: State) -> HookOrder:
    """*call* as it is run for *state*: the command of the plan, and what a hook is told."""
    hook = next(hook for hook in state.plan.hooks if hook.point == call.point)
    stages = state.plan.stages
    weight = percent(stages[call.stage].weight) if 0 <= call.stage < len(stages) else "0"
    environment = {
        "GOLIVE_HOOK": call.point,
        "GOLIVE_HOOK_KEY": f"{state.id}/{call.name}",
        "GOLIVE_ATTEMPT": str(call.attempt),
        "GOLIVE_ROLLOUT": state.id,
        "GOLIVE_STAGE": str(call.stage + 1),
        "GOLIVE_STAGES": str(len(stages)),
        "GOLIVE_WEIGHT": weight,
        "GOLIVE_STABLE": state.stable,
        "GOLIVE_CANDIDATE": state.candidate,
        "GOLIVE_VERSION": state.candidate,
        "GOLIVE_REASON": state.reason,
    }
    return HookOrder(state.id, call, hook.command, hook.timeout, environment)


class NotReadyError(GoliveError):
    """A version that was started did not become ready."""


class RefusedByGatesError(GoliveError):
    """The gates refused a version."""


async def _idle() -> None:
    await asyncio.sleep(0)
