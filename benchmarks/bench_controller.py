"""
What ten rollouts cost their controllers: memory over 100,000 ticks (virtual time), CPU over one real minute.

Real machine, controller, desk, judge and journal (SQLite on disk; in the real minute every commit is flushed). The
gateway and the versions are those of the simulator, so their own cost, and the network to them, is not in it.

    python benchmarks/bench_controller.py [TICKS]
"""

from __future__ import annotations

import asyncio
import resource
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from golive.rollout.controller import Controller
from golive.rollout.desk import Desk
from golive.rollout.evidence.envoy import BOUNDS
from golive.rollout.journal import Journal
from golive.rollout.judge import Judge
from golive.rollout.machine import Phase, State
from golive.rollout.pace import Pace
from golive.rollout.plan import Stage, make_plan
from golive.rollout.ports import ArmSample, Sample
from golive.testing.simulated_life import Incarnation
from golive.testing.simulated_world import NEW, OLD, SERVICE, Faults, World
from golive.testing.virtual import run_virtual
from golive.timing import Clock, SystemClock

ROLLOUTS = 10
MINUTE = 60.0
SLO = {"error_rate": {"target": "<= 1%", "alert_if": "> 2%"}, "latency_p95": {"target": "< 500ms", "alert_if": "> 1s"}}
PLAN = make_plan([Stage(1000, timedelta(days=300)), Stage(10_000, timedelta(0))])
spent: list[float] = []


class TimedJudge(Judge):
    """golive's judge, and how long each look takes."""

    def observe(self, snapshot: Any) -> Any:
        began = time.thread_time()
        decision = super().observe(snapshot)
        spent.append(time.thread_time() - began)
        del spent[:-20_000]
        return decision


def make_judge(state: State, _stored: dict[str, Any] | None) -> Judge:
    """A judge of two rows, with the gateway's latency buckets."""
    floors = [stage.floor.total_seconds() for stage in state.plan.stages]
    return TimedJudge(
        plan=state.plan.weights, slo=SLO, tick_s=5.0, histogram_bounds=BOUNDS, routes=("*",), floor_s=floors
    )


class Busy(Incarnation):
    """A service of 100 requests a second, read through the gateway's buckets."""

    def __init__(self, folder: Path, number: int, pace: Pace, clock: Clock | None, *, durable: bool) -> None:
        world = World(number, Faults(error_ratio=0.002))
        world.rate = 100.0
        world.journal = Journal(folder / f"{number}.db")
        if not durable:
            world.journal.connection.execute("pragma synchronous = off")
        if clock is not None:
            world.clock = clock  # type: ignore[assignment]
        super().__init__(world, 0, make_judge)
        self.bounds = BOUNDS
        self.controller = Controller(
            SERVICE, journal=world.journal, router=self, evidence=self, deployer=self, judges=make_judge,
            clock=world.clock, pace=pace,
        )  # fmt: skip

    async def sample(self) -> Sample:
        """As the world's, with the latency of each request in one of the gateway's buckets."""
        seen = await super().sample()
        arms = {version: _spread(arm) for version, arm in seen.arms.items()}
        return msgspec.structs.replace(seen, arms=arms)

    async def serve(self) -> list[asyncio.Task[None]]:
        """Control, and ship; returns once the traffic is on 10 %."""
        self.world.counted_at = self.world.now()
        work = [asyncio.create_task(self.controller.run(OLD)), asyncio.create_task(Desk(self.controller).serve())]
        body = {"version": NEW, "plan": msgspec.to_builtins(PLAN)}
        self.world.journal.ask(SERVICE, "ada", "ship", body, self.world.clock.now())
        while self.controller.state is None or self.controller.state.phase is not Phase.SOAKING:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        return work


def _spread(arm: ArmSample) -> ArmSample:
    total, latency = sum(arm.requests.values()), [0] * (len(BOUNDS) + 1)
    for place in range(len(BOUNDS) // 3, 2 * len(BOUNDS) // 3):
        latency[place] = total // len(BOUNDS)
    return msgspec.structs.replace(arm, latency=latency)


def rss_mib() -> float:
    """Resident memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


async def soak(folder: Path, ticks: int) -> None:
    """*ticks* looks at the evidence, of all rollouts together, as fast as they go."""
    pace = Pace(tick=timedelta(seconds=5), probe=timedelta(seconds=5), inbox=timedelta(seconds=5),
                renew=timedelta(seconds=2))  # fmt: skip
    lives = [Busy(folder, number, pace, None, durable=False) for number in range(ROLLOUTS)]
    work = [task for life in lives for task in await life.serve()]
    began = lives[0].world.now()
    each = ticks / ROLLOUTS * 5.0
    print(f"{'ticks':>9}  {'RSS MiB':>8}  {'journal MiB':>11}")
    for tenth in range(11):
        await asyncio.sleep(max(0.0, began + each * tenth / 10 - lives[0].world.now()))
        size = sum(path.stat().st_size for path in folder.iterdir()) / 2**20
        print(f"{round(ticks * tenth / 10):9,}  {rss_mib():8.1f}  {size:11.1f}", flush=True)
    await _stop(work)


async def minute(folder: Path) -> None:
    """One minute by the clock on the wall, at the default pace."""
    lives = [Busy(folder, number, Pace(), SystemClock(), durable=True) for number in range(ROLLOUTS)]
    work = [task for life in lives for task in await life.serve()]
    cpu, wall = time.process_time(), time.monotonic()
    await asyncio.sleep(MINUTE)
    share = (time.process_time() - cpu) / (time.monotonic() - wall)
    print(f"\n{ROLLOUTS} rollouts for {MINUTE:g} s: {share:.1%} of one core, {rss_mib():.1f} MiB resident")
    await _stop(work)


async def _stop(work: list[asyncio.Task[None]]) -> None:
    for task in work:
        assert not task.done(), task
        task.cancel()
    await asyncio.gather(*work, return_exceptions=True)


def main(arguments: list[str]) -> None:
    ticks = int(arguments[0]) if arguments else 100_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "minute").mkdir()
        asyncio.run(minute(folder / "minute"))
        (folder / "soak").mkdir()
        run_virtual(soak(folder / "soak", ticks))
    looks = sorted(spent)
    median, most = looks[len(looks) // 2] * 1e3, looks[len(looks) * 99 // 100] * 1e3
    print(f"one observe(), CPU: median {median:.2f} ms, p99 {most:.2f} ms")


if __name__ == "__main__":
    main(sys.argv[1:])
