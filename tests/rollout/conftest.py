"""One controller in the simulated world, played by hand: the truth is changed, and what the controller does is seen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from golive.rollout import events as ev
from golive.rollout.desk import Desk
from golive.rollout.judge import Judge
from golive.rollout.machine import Phase, State
from golive.rollout.plan import Plan
from golive.rollout.session import JudgeMaker
from golive.testing.simulated_judge import SimpleJudge
from golive.testing.simulated_life import Incarnation
from golive.testing.simulated_world import NEW, OLD, SERVICE, Faults, World
from golive.testing.simulator import small_plan
from golive.testing.virtual import run_virtual


class Theatre:
    """
    A world, one life of the controller at a time, and the desk in front of it. Seconds are virtual.

    Attributes:
        life: the controller that plays now.
    """

    def __init__(self, faults: Faults, maker: JudgeMaker, seed: int) -> None:
        self.world = World(seed, faults)
        self.maker = maker
        self.life = Incarnation(self.world, 0, maker)
        self._tasks: list[asyncio.Task[Any]] = []
        self._lives = 0

    # ---- the controller

    def begin(self) -> None:
        """A controller starts."""
        self.life = Incarnation(self.world, self._lives, self.maker)
        self._lives += 1
        controller = self.life.controller
        self._tasks = [asyncio.create_task(controller.run(OLD)), asyncio.create_task(Desk(controller).serve())]

    async def kill(self) -> None:
        """kill -9: it does nothing more, and its lease runs out by itself."""
        self.life.dead.set()
        self.world.hooks.lose()
        await self.end()
        await asyncio.sleep(6)

    async def end(self) -> None:
        """Take the tasks off the loop."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ---- people

    async def ask(self, verb: str, who: str = "ada", **body: Any) -> tuple[int, str]:
        """A request and its answer: exit code and sentence."""
        number = self.request(verb, who, **body)
        while (answer := self.world.journal.answer_to(number)) is None:  # noqa: ASYNC110 - as people do
            await asyncio.sleep(0.1)
        return answer

    def request(self, verb: str, who: str = "ada", **body: Any) -> int:
        """A request that nobody waits for."""
        return self.world.journal.ask(SERVICE, who, verb, body, self.world.clock.now())

    async def ship(self, plan: Plan | None = None, version: str = NEW, **body: Any) -> tuple[int, str]:
        """Ship *version* on *plan*."""
        told = msgspec.to_builtins(plan or small_plan())
        return await self.ask("ship", version=version, plan=told, at_once=True, **body)

    # ---- what is seen

    @property
    def state(self) -> State:
        """Of the latest rollout."""
        return self.life.controller.state or self.world.journal.rollouts(SERVICE)[0]

    @property
    def weight(self) -> int:
        """The candidate's share at the gateway, in basis points; all of it when it is the only version."""
        return 10_000 if self.world.split.stable == NEW else self.world.split.weight

    def events(self, kind: type[ev.Event]) -> list[Any]:
        """What of *kind* is in the journal."""
        entries = self.world.journal.entries(self.state.id)
        return [entry.event for entry in entries if isinstance(entry.event, kind)]

    async def until(self, condition: Callable[[], bool], seconds: float = 4000) -> float:
        """Wait for *condition*; the seconds it took."""
        began = self.world.now()
        while not condition():
            assert self.world.now() - began < seconds, f"not within {seconds} s: {self.state}"
            await asyncio.sleep(0.2 if seconds < 10_000 else 600)
        return self.world.now() - began

    async def until_phase(self, phase: Phase, stage: int | None = None) -> None:
        """Wait until the rollout is in *phase* (of *stage*)."""
        await self.until(lambda: self.state.phase is phase and stage in (None, self.state.stage))

    async def stays(self, condition: Callable[[], bool], seconds: float) -> None:
        """*condition* holds the whole time."""
        for _ in range(int(seconds)):
            assert condition(), self.state
            await asyncio.sleep(1)


Act = Callable[[Theatre], Awaitable[None]]


@pytest.fixture
def play() -> Any:
    """``play(act, faults)``: run *act* with a theatre whose controller was started."""

    def run(act: Act, faults: Faults | None = None, maker: JudgeMaker | None = None, seed: int = 3) -> Theatre:
        async def performance() -> Theatre:
            theatre = Theatre(faults or Faults(), maker or SimpleJudge.make, seed)
            theatre.begin()
            await asyncio.sleep(4)
            try:
                await act(theatre)
            finally:
                await theatre.end()
            if theatre.world.broken is not None:
                raise theatre.world.broken
            return theatre

        return run_virtual(performance())

    return run


class RealJudge:
    """golive's own judge, with the buckets of the simulated world."""

    judging: dict[str, Any] = {"slo": {"error_rate": {"target": "<= 1%", "alert_if": "> 2%"}}}  # noqa: RUF012

    @staticmethod
    def make(state: State, stored: dict[str, Any] | None) -> Judge:
        """See :class:`golive.rollout.session.JudgeMaker`."""
        if stored is not None:
            return Judge.from_dict(stored)
        floors = [stage.floor.total_seconds() for stage in state.plan.stages]
        return Judge(
            plan=state.plan.weights, slo=RealJudge.judging["slo"], tick_s=10.0, histogram_bounds=(0.1, 1.0),
            routes=("*",), floor_s=floors,
        )  # fmt: skip


@pytest.fixture
def real_judge() -> type[RealJudge]:
    """See :class:`RealJudge`."""
    return RealJudge


@pytest.fixture
def long_plan() -> Plan:
    """10, 50, 100 %, a minute each and forty at most; a watch of two minutes."""
    return small_plan((10, 50, 100), floor=timedelta(minutes=1), watch=timedelta(minutes=2))
