"""
A controller in a process of its own that is killed for real: the simulated world, its truth in a file, in real time.

    python killed_controller.py FOLDER [POINT]      ship v2 and print how it ended; die by SIGKILL at that point

What is real: the process and its death, the journal and the lease in a file of SQLite, the clock. The next process
finds the world as this one left it. See test_rollout_killed_processes.py.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from golive.rollout.desk import Desk
from golive.rollout.files import replace_file
from golive.rollout.journal import Journal
from golive.rollout.lease import this_process
from golive.rollout.pace import Pace
from golive.testing import simulated_life
from golive.testing.simulated_ending import ending_of
from golive.testing.simulated_judge import SimpleJudge
from golive.testing.simulated_life import Incarnation
from golive.testing.simulated_world import NEW, OLD, SERVICE, Faults, World
from golive.testing.simulator import small_plan
from golive.timing import SystemClock

TRUTH = ("split", "known", "in_flight", "fence", "deployer_fence", "alive", "counts", "epoch", "counted_at", "points")
FAST = Pace(
    tick=timedelta(milliseconds=50),
    probe=timedelta(milliseconds=50),
    inbox=timedelta(milliseconds=20),
    renew=timedelta(milliseconds=500),
    ready=timedelta(seconds=60),
    drain=timedelta(seconds=10),
)
PLAN = small_plan((10, 50, 100), floor=timedelta(milliseconds=100), watch=timedelta(milliseconds=100))


class Process(Incarnation):
    """The one life of this process."""

    def __init__(self, world: World, truth: Path, dies_at: int | None) -> None:
        super().__init__(world, 0, SimpleJudge.make)
        self.truth = truth
        self.dies_at = dies_at
        self.controller.lease.holder = this_process()

    def reach(self, point: str, *, alone: bool = False) -> int:
        """The world is kept as it is now; then the process may end without a word."""
        number = super().reach(point, alone=alone)
        kept = {name: getattr(self.world, name) for name in TRUTH}
        kept["counts"] = dict(kept["counts"])
        replace_file(self.truth, pickle.dumps(kept))
        if number == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return number


def the_world(folder: Path) -> World:
    """As the process before left it; new when there was none."""
    world = World(1, Faults())
    world.journal = Journal(folder / "golive.db")
    world.clock = SystemClock()  # type: ignore[assignment]
    world.rate = 5000.0
    world.counted_at = world.now()
    if (folder / "truth").exists():
        kept: dict[str, Any] = pickle.loads((folder / "truth").read_bytes())
        world.counts.update(kept.pop("counts"))
        for name, value in kept.items():
            setattr(world, name, value)
    return world


async def main(folder: Path, dies_at: int | None) -> None:
    """Control the service until the rollout is over."""
    world = the_world(folder)
    if not world.journal.rollouts(SERVICE) and not world.journal.requests(SERVICE):
        world.journal.ask(
            SERVICE, "ada", "ship", {"version": NEW, "plan": msgspec.to_builtins(PLAN)}, world.clock.now()
        )
    life = Process(world, folder / "truth", dies_at)
    tasks = [asyncio.create_task(life.controller.run(OLD)), asyncio.create_task(Desk(life.controller).serve())]
    while not world.over:
        await asyncio.sleep(0.02)
        for task in tasks:
            if task.done():
                task.result()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if world.broken is not None:
        raise world.broken
    faults = [fault for state in world.journal.rollouts(SERVICE) for fault in world.journal.verify(state.id)]
    ending = msgspec.to_builtins(ending_of(world))
    print(msgspec.json.encode({"ending": ending, "points": len(world.points), "faults": faults}).decode())


if __name__ == "__main__":
    simulated_life.PACE = FAST
    simulated_life.READY_SECONDS = 0.05
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None))
