"""
Every story, disturbed at every point: the controller is killed there, or stalled and replaced by a second one while it
goes on. What must come of it is what came of it undisturbed.

    python tests/rollout/kill_points.py            all of them, counted; exit 1 when one ends otherwise
    python tests/rollout/kill_points.py WORDS      of the stories whose name has WORDS in it
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).parent))

from stories import STORIES, Story

from golive.testing.simulated_ending import Ending
from golive.testing.simulator import Outcome, simulate

SEED = 1
LATER_SECONDS = 120.0
"""How much later than undisturbed a story may end. A dead holder's lease is waited for 5 s."""

How = Literal["killed", "replaced"]


class Disturbance(NamedTuple):
    """One controller disturbed at one point of one story."""

    story: str
    how: How
    number: int
    point: str

    def __str__(self) -> str:
        return f"{self.story}: {self.how} at point {self.number}, {self.point}"


def play(story: Story, *, kills: tuple[int, ...] = (), rivals: tuple[int, ...] = ()) -> Outcome:
    """*story*, its controllers killed or replaced at these points."""
    faults = replace(story.faults, kills=kills, rivals=rivals)
    return simulate(SEED, faults, story.plan, scripts=[story.script], horizon_seconds=20_000)


def disturbances(name: str, undisturbed: Outcome) -> Iterator[Disturbance]:
    """Everything that can be done to the controller in the story *name*."""
    for number, point in enumerate(undisturbed.points, start=1):
        yield Disturbance(name, "killed", number, point)
        if not point.startswith("within"):  # nobody else can write while a transaction is open
            yield Disturbance(name, "replaced", number, point)


def difference(disturbance: Disturbance, undisturbed: Outcome) -> str:
    """What came out differently; empty when nothing did."""
    story, at = STORIES[disturbance.story], (disturbance.number,)
    try:
        outcome = play(story, kills=at) if disturbance.how == "killed" else play(story, rivals=at)
    except AssertionError as error:
        return str(error)
    if outcome.points[: disturbance.number] != undisturbed.points[: disturbance.number]:
        return "it went another way before it was disturbed"
    if outcome.took > undisturbed.took + LATER_SECONDS:
        return f"it ended after {outcome.took:.0f} s instead of {undisturbed.took:.0f} s"
    return _unlike(_seen(outcome.ending, story), _seen(undisturbed.ending, story))


def _seen(ending: Ending, story: Story) -> Ending:
    """*ending* without what may differ: how often a hook was tried again that was lost with its controller."""
    if not story.attempts:
        return ending
    rollouts = tuple(
        replace(rollout, hooks=tuple({replace(call, attempt=1): 0 for call in rollout.hooks}))
        for rollout in ending.rollouts
    )
    hooks = {(name.rpartition("-")[0], "ok"): 0 for name, outcome in ending.hooks if outcome == "ok"}
    return replace(ending, rollouts=rollouts, hooks=tuple(hooks))


def _unlike(disturbed: Ending, undisturbed: Ending) -> str:
    """Every part of the ending that is not the same, with what it is now."""
    return "; ".join(
        f"{field}: expected {getattr(undisturbed, field)}, got {getattr(disturbed, field)}"
        for field in Ending.__struct_fields__
        if getattr(disturbed, field) != getattr(undisturbed, field)
    )


def of_story(name: str) -> tuple[Counter[str], list[str]]:
    """All disturbances of one story: how many of each kind, and which of them changed something."""
    logging.disable(logging.CRITICAL)
    undisturbed = play(STORIES[name])
    counts: Counter[str] = Counter()
    faults = []
    for disturbance in disturbances(name, undisturbed):
        counts[disturbance.how] += 1
        counts[_kind(disturbance.point)] += 1
        if found := difference(disturbance, undisturbed):
            faults.append(f"{disturbance}: {found}")
    return counts, faults


def _kind(point: str) -> str:
    """What lasts at *point*, for the table: ``record``, ``gateway``, ``lease``."""
    words = point.split()
    kinds = ("record", "answer", "lease", "adopted", "gateway:", "jobs:", "start", "stop", "hook")
    return next((kind.rstrip(":") for kind in kinds if kind in words), "other")


def main(arguments: list[str]) -> int:
    """Play them all, two stories at a time."""
    names = [name for name in STORIES if not arguments or arguments[0] in name]
    total: Counter[str] = Counter()
    wrong = 0
    with ProcessPoolExecutor(2) as pool:
        for name, (counts, faults) in zip(names, pool.map(of_story, names), strict=True):
            print(f"{counts['killed']:5} killed {counts['replaced']:5} replaced  {name}", flush=True)
            for fault in faults:
                print(f"      {fault}", flush=True)
            total += counts
            wrong += len(faults)
    kinds = ", ".join(f"{kind} {count}" for kind, count in total.most_common() if kind not in ("killed", "replaced"))
    print(
        f"{len(names)} stories, {total['killed']} points of a kill, {total['replaced']} of a second controller: "
        f"{wrong} end otherwise"
    )
    print(f"points by what lasts: {kinds}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
