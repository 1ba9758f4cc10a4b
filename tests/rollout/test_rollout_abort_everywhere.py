"""
An abort wins from every state: not from some that came to mind, but from each that the stories of rollouts pass
through, one by one, in virtual time and with writes that are slow. See stories.py.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from golive.rollout import events as ev
from golive.rollout.journal import Entry
from golive.rollout.machine import FINAL, Phase, State, begin, decide
from golive.testing.simulated_ending import Outcome
from golive.testing.simulated_world import READY_SECONDS, SERVICE, Act, World
from golive.testing.simulator import simulate

sys.path.insert(0, str(Path(__file__).parent))

from stories import STORIES, Story

SLOW_SECONDS = 4.0
"""A write that leaves the candidate with traffic, and the last request of a version: states last long enough."""
STARTS_SECONDS = 4.0
"""A stable version that was stopped, or is dead, has to be started before it gets anybody."""


class Situation(NamedTuple):
    """What of a state can make a difference to an abort."""

    phase: Phase
    stage: int
    waiting_for: str | None
    paused: bool
    frozen: bool
    hook: str | None
    stable_healthy: bool
    candidate_alive: bool
    probe_failed: bool
    removed: bool
    exposed: bool


def situation(state: State) -> Situation:
    """Of *state*."""
    return Situation(
        state.phase, state.stage, state.waiting_for, state.paused_by is not None, state.frozen_until is not None,
        state.hook.point if state.hook else None, state.stable_healthy, state.candidate_alive, state.failed_probes > 0,
        state.removed, state.weight > 0,
    )  # fmt: skip


def slowly(story: Story) -> Story:
    """*story* with writes that are slow."""
    return replace(story, faults=replace(story.faults, slow=SLOW_SECONDS))


def play(story: Story, *also: Act) -> Outcome:
    """*story*, with *also* what else happens."""
    return simulate(1, story.faults, story.plan, scripts=[story.script, also], horizon_seconds=20_000)


def states(entries: list[Entry]) -> list[State]:
    """The state after each of *entries*."""
    first = entries[0].event
    assert isinstance(first, ev.Started)
    found = [begin(first)[0]]
    for entry in entries[1:]:
        found.append(decide(found[-1], entry.event)[0])
    return found


def moments(seen: set[Situation]) -> list[tuple[str, int]]:
    """In which story, and after which entry of its last rollout, there is a situation that is not one of *seen*."""
    found = []
    for name, story in STORIES.items():
        outcome = play(slowly(story))
        for number, state in enumerate(states(outcome.entries), start=1):
            if not state.final and situation(state) not in seen:
                seen.add(situation(state))
                found.append((name, number))
    return found


class Abort:
    """Somebody aborts once the rollout that ends the story has its entry *number*."""

    def __init__(self, rollout: str, number: int) -> None:
        self.rollout = rollout
        self.left = number
        self.request = 0
        self.can_take_it = False

    def due(self, entry: Entry) -> bool:
        """Whether *entry* is the one."""
        self.left -= entry.rollout == self.rollout
        return self.left == 0

    def post(self, world: World) -> None:
        """Ask; the seconds are counted from now. Nothing more happens in the story."""
        state = world.journalled()
        assert state is not None
        for script in world.scripts:
            script.clear()
        self.request = world.journal.ask(SERVICE, "grace", "abort", {}, world.clock.now())
        self.can_take_it = world.living(state.stable) and world.alive[state.stable] + READY_SECONDS <= world.now()
        world.abort_at = world.now()
        world.exposed_after_abort = None if world.exposure(world.split) else 0.0


def test_an_abort_wins_from_every_state_within_two_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    """
    All traffic is on stable within two seconds of the request, at once when it is dead and has to be started first; the
    rollout ends where it was sent.
    """
    landed: set[Situation] = set()
    slowest = 0.0
    for name, number in moments(set()):
        story = slowly(STORIES[name])
        rollout = play(story).state.id
        abort = Abort(rollout, number)
        outcome = play(story, Act(abort.due, abort.post))
        here = f"{name}, entry {number}"
        entries = outcome.entries
        assert outcome.state.phase is Phase.ROLLED_BACK, here
        asked = (
            n for n, each in enumerate(entries) if isinstance(each.event, ev.Aborted) and each.event.actor == "grace"
        )
        aborted = next(asked, None)
        assert outcome.abort_seconds is not None, here
        assert outcome.abort_seconds <= 2 + (0 if abort.can_take_it else STARTS_SECONDS), here
        slowest = max(slowest, outcome.abort_seconds if abort.can_take_it else 0)
        if aborted is not None:
            landed.add(situation(states(entries)[aborted - 1]))
    with capsys.disabled():
        print(f"\naborted from {len(landed)} different states; the slowest was on the wire after {slowest:.2f} s")
    assert {each.phase for each in landed} >= set(Phase) - FINAL - {Phase.ROLLING_BACK, Phase.DRAINING}
    assert {each.waiting_for for each in landed} == {None, "approval", "decision", "hook"}
    assert len(landed) >= 25
